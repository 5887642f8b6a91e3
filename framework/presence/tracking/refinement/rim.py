"""How far a patch's vertices are from its rim, along the mesh: where a replaced head may fade."""

from __future__ import annotations

import torch
from torch import Tensor

from presence.bodies import Body


def rim_distances(body: Body, ids: Tensor) -> Tensor:
    """Returns the distances [N] m of vertices from the rim of the patch that they make.

    The rim are the vertices with a neighbour outside the patch, and ways to it go along edges of
    the mean mesh. What does not hang together with a rim, such as an eyeball, is infinitely far.

    Args:
        body: the model.
        ids: [N] its vertices in the patch, each once.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    faces = body.topology.faces.cpu()
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges.sort(-1).values.unique(dim=0)
    place = torch.full((body.num_vertices,), -1)
    place[ids.cpu()] = torch.arange(len(ids))
    ends = place[edges]  # [E 2], -1 outside the patch
    rim = ends[(ends < 0).any(-1)].amax(-1)
    rim = rim[rim >= 0].unique()
    if not len(rim):
        return torch.full((len(ids),), torch.inf)
    inside = (ends >= 0).all(-1)
    first, second = body.v_template.cpu()[edges[inside]].double().unbind(1)
    lengths, rows = (first - second).norm(dim=-1).numpy(), ends[inside].T.numpy()
    graph = coo_array((lengths, (rows[0], rows[1])), shape=(len(ids),) * 2).tocsr()
    found = dijkstra(graph, directed=False, indices=rim.numpy(), min_only=True)
    return torch.from_numpy(found).float()
