"""Where each piece is cut open, and which boundary points become the corners of its chart."""

from __future__ import annotations

import heapq

import numpy as np

from presence.bodies.building.parametrize import Disk, boundary_loops, cut_open
from presence.bodies.building.pieces import Surface
from presence.bodies.building.vectors import unit

Corners = tuple[int, int, int, int]


def open_piece(surface: Surface, names: np.ndarray, piece: str) -> tuple[Disk, Corners]:
    """Cuts a middle or left piece open.

    Args:
        surface: the body.
        names: [F] pieces from `divide`.
        piece: "head", "torso_front", "torso_back" or a name starting with "left_".

    Returns:
        The disk, and the positions in its loop of the lower left, lower right, upper right and
        upper left corner, seen from outside.
    """
    kind = piece.removeprefix("left_")
    seam = _Seams(surface, names, piece)
    return getattr(seam, f"open_{_STYLE.get(kind, kind)}")()


_STYLE = {
    "torso_front": "torso",
    "torso_back": "torso",
    **dict.fromkeys(("index", "middle", "ring", "pinky", "thumb"), "finger"),
    **dict.fromkeys(("eye_front", "eye_back", "eye_cavity", "mouth_cavity", "tongue"), "plain"),
}


class _Seams:
    def __init__(self, surface: Surface, names: np.ndarray, piece: str) -> None:
        self.rest, self.names, self.piece = surface.rest, names, piece
        self.all_faces, self.joints = surface.faces, surface.joints
        self.faces = surface.faces[names == piece]
        self.loops = boundary_loops(self.faces)
        self.neighbours: dict[int, set[int]] = {}
        for triangle in self.faces:
            for k in range(3):
                a, b = int(triangle[k]), int(triangle[(k + 1) % 3])
                self.neighbours.setdefault(a, set()).add(b)
                self.neighbours.setdefault(b, set()).add(a)

    def open_head(self) -> tuple[Disk, Corners]:
        """Cuts from the nape over the crown to the hairline, along the middle."""
        ring = max(self.loops, key=lambda loop: -self.rest[loop][:, 1].mean())
        middle = {v for v in self.neighbours if abs(self.rest[v, 0]) < 1e-6}
        nape = min((v for v in ring if v in middle), key=lambda v: self.rest[v, 2])
        crown = max(middle, key=lambda v: self.rest[v, 1])
        front = self.rest[crown, 2] + 0.06  # metres in front of the crown
        above = [v for v in middle if self.rest[v, 1] > self.rest[crown, 1] - 0.06]
        hairline = min(above, key=lambda v: abs(self.rest[v, 2] - front))
        cut = self.path(nape, {hairline}, within=middle)
        return self.tube(cut, top=0.5)

    def open_torso(self) -> tuple[Disk, Corners]:
        """No cut: corners at the hips' sides and where the shoulder seam meets the arm."""
        disk = cut_open(self.faces, [])
        place = self.rest[disk.origin[disk.loop]]
        facing = 1.0 if self.piece == "torso_front" else -1.0
        arms = np.unique(self.all_faces[np.char.endswith(self.names.astype(str), "arm")])
        legs = np.unique(self.all_faces[np.char.endswith(self.names.astype(str), "leg")])
        rear = "torso_back" if self.piece == "torso_front" else "torso_front"
        others = np.unique(self.all_faces[self.names == rear])
        on_seam = np.isin(disk.origin[disk.loop], others)
        on_arm = np.isin(disk.origin[disk.loop], arms) & on_seam
        on_leg = np.isin(disk.origin[disk.loop], legs) & on_seam

        def corner(mask: np.ndarray, side: float, height: float) -> int:
            score = side * facing * place[:, 0] + height * place[:, 1]
            return int(np.where(mask, score, -np.inf).argmax())

        return disk, (
            corner(on_leg, -1, 0.5),
            corner(on_leg, 1, 0.5),
            corner(on_arm, 1, 4.0),
            corner(on_arm, -1, 4.0),
        )

    def open_leg(self) -> tuple[Disk, Corners]:
        """Cuts along the inside of the back of the leg; the ankle is at the bottom."""
        return self.sleeve("left_foot", away=np.array([-0.5, 0.0, -0.85]))

    def open_arm(self) -> tuple[Disk, Corners]:
        """Cuts along the back of the arm's underside; the wrist is at the bottom."""
        return self.sleeve("left_hand", away=np.array([0.0, -0.7, -0.7]))

    def open_foot(self) -> tuple[Disk, Corners]:
        """Cuts from the heel tendon along the sole's middle to the toes."""
        ring = self.loops[0]
        heel = min(ring, key=lambda v: self.rest[v, 2])
        centre = self.rest[list(self.neighbours)].mean(0)
        sole = [v for v in self.neighbours if self.rest[v, 1] < centre[1]]
        reach = max(self.rest[v, 2] for v in sole) - 0.10  # metres: at the ball of the foot
        goal = min(
            sole,
            key=lambda v: (
                abs(self.rest[v, 2] - reach)
                + abs(self.rest[v, 0] - centre[0])
                + 2 * (self.rest[v, 1] - self.rest[sole][:, 1].min())
            ),
        )
        # A strip down the heel and along the sole, 2 cm to either side of the line between them.
        line = np.polyfit(self.rest[[heel, goal], 2], self.rest[[heel, goal], 0], 1)
        strip = {
            v
            for v in self.neighbours
            if abs(self.rest[v, 0] - np.polyval(line, self.rest[v, 2])) < 0.02
        }
        return self.tube(self.path(int(heel), {goal}, within=strip | {goal}), top=0.5)

    def open_finger(self) -> tuple[Disk, Corners]:
        """Cuts along the palm side to the tip."""
        finger = self.piece.removeprefix("left_")
        root, tip = self.finger_ends(finger)
        axis = (tip - root) / np.linalg.norm(tip - root)
        ring = self.loops[0]
        down = unit(np.array([0.0, -1.0, 0.0]) - axis * axis[1] * -1.0)
        if finger == "thumb":  # its pad faces back and down
            down = unit(np.cross(axis, np.cross(np.array([0.0, -0.5, -0.85]), axis)))
        start = max(ring, key=lambda v: (self.rest[v] - root) @ down)
        goal = max(self.neighbours, key=lambda v: (self.rest[v] - root) @ axis)
        cut = self.path(int(start), {goal}, axis=(root, axis, down))
        return self.tube(cut, top=0.35)

    def open_hand(self) -> tuple[Disk, Corners]:
        """Cuts the little finger's side from the wrist, and the webs between the fingers.

        The fingers' openings then form the upper side; the thumb's stays a hole.
        """
        rings = {f: self.ring_of(f"left_{f}") for f in ("pinky", "ring", "middle", "index")}
        wrist = self.ring_of("left_arm")
        back = min(rings["pinky"], key=lambda v: self.rest[v, 2])
        cut = self.path(int(back), set(map(int, wrist)))
        cuts = [cut]
        for first, second in (("pinky", "ring"), ("ring", "middle"), ("middle", "index")):
            a, b = set(map(int, rings[first])), set(map(int, rings[second]))
            if not a & b:
                cuts.append(self.shortest_between(a, b))
        disk = cut_open(self.faces, cuts)
        return disk, self.ends_to_corners(disk, cut[-1], cut[0], cut)

    def open_plain(self) -> tuple[Disk, Corners]:
        """No cut: the corners quarter the boundary."""
        disk = cut_open(self.faces, [])
        place = self.rest[disk.origin[disk.loop]]
        along = np.linalg.norm(np.roll(place, -1, 0) - place, axis=1)
        share = np.concatenate([[0.0], np.cumsum(along)[:-1]]) / along.sum()
        # A vertex of a single face makes a good corner: elsewhere that face would be flat.
        single = np.bincount(disk.corners.ravel())[disk.loop] == 1
        first = int((place[:, 1] + place[:, 0] - 1.0 * single).argmin())
        share = (share - share[first]) % 1.0
        picks = [first]
        for quarter in (0.25, 0.5, 0.75):
            score = np.abs(share - quarter) - 0.12 * single
            picks.append(int(score.argmin()))
        return disk, (picks[0], picks[1], picks[2], picks[3])

    def sleeve(self, beyond: str, away: np.ndarray) -> tuple[Disk, Corners]:
        """Cuts a tube from its lower ring to its upper one, on the side that `away` points to."""
        lower = self.ring_of(beyond)
        upper = next(loop for loop in self.loops if not np.array_equal(loop, lower))
        root, end = self.rest[upper].mean(0), self.rest[lower].mean(0)
        axis = (end - root) / np.linalg.norm(end - root)
        start = max(lower, key=lambda v: (self.rest[v] - end) @ away)
        goal = max(upper, key=lambda v: (self.rest[v] - root) @ away)
        cut = self.path(int(start), {int(goal)}, axis=(root, axis, away))
        disk = cut_open(self.faces, [cut])
        return disk, self.ends_to_corners(disk, cut[0], cut[-1], cut)

    def tube(self, cut: list[int], top: float) -> tuple[Disk, Corners]:
        """A closed tube cut from its ring inwards; the last `top` of the cut is the upper side."""
        disk = cut_open(self.faces, [cut])
        length = np.linalg.norm(np.diff(self.rest[cut], axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(length)]) / length.sum()
        turn = cut[int(np.abs(along - (1 - top)).argmin())]
        return disk, self.ends_to_corners(disk, cut[0], turn, cut)

    def ends_to_corners(self, disk: Disk, lower: int, upper: int, cut: list[int]) -> Corners:
        """Corners at the two copies of the cut's lower end and of a vertex further up it."""
        loop = disk.origin[disk.loop]
        first, second = np.flatnonzero(loop == lower)
        # The stretch of boundary without cut vertices is the lower side; it runs left to right.
        between = loop[first + 1 : second]
        on_cut = np.isin(between, cut[1:]).sum() if cut[0] == lower else None
        if on_cut is None:
            on_cut = np.isin(between, cut[:-1]).sum()
        left, right = (first, second) if on_cut == 0 else (second, first)
        copies = np.flatnonzero(loop == upper)
        after = sorted(copies, key=lambda c: (c - right) % len(loop))
        return int(left), int(right), int(after[0]), int(after[-1])

    def ring_of(self, neighbour: str) -> np.ndarray:
        """The boundary loop shared with another piece."""
        theirs = np.unique(self.all_faces[self.names == neighbour])
        return max(self.loops, key=lambda loop: np.isin(loop, theirs).mean())

    def finger_ends(self, finger: str) -> tuple[np.ndarray, np.ndarray]:
        from presence.bodies.joints import JOINT_NAMES

        joints = [self.joints[JOINT_NAMES.index(f"left_{finger}{k}")] for k in (1, 2, 3)]
        root = joints[1] if finger == "thumb" else joints[0]
        return root, joints[2]

    def shortest_between(self, starts: set[int], goals: set[int]) -> list[int]:
        """The shortest vertex path from one set to another."""
        return min((self.path(s, goals) for s in sorted(starts)), key=self.length)

    def length(self, path: list[int]) -> float:
        return float(np.linalg.norm(np.diff(self.rest[path], axis=0), axis=1).sum())

    def path(
        self,
        start: int,
        goals: set[int],
        *,
        within: set[int] | None = None,
        axis: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    ) -> list[int]:
        """Dijkstra over edges; with `axis` (point, direction, side) it keeps to that side.

        Boundary vertices are entered only as goals, so that a cut touches borders at its ends.
        """
        border = {int(v) for loop in self.loops for v in loop}
        queue, seen = [(0.0, start, -1)], {}
        while queue:
            cost, at, came = heapq.heappop(queue)
            if at in seen:
                continue
            seen[at] = came
            if at in goals:
                return _walk_back(seen, at)
            for to in sorted(self.neighbours[at]):
                if to in seen or (to in border and to not in goals):
                    continue
                if within is not None and to not in within:
                    continue
                step = float(np.linalg.norm(self.rest[to] - self.rest[at]))
                heapq.heappush(queue, (cost + step * self.penalty(to, axis), to, at))
        raise ValueError(f"{self.piece}: no path from vertex {start} to its goal")

    def penalty(self, vertex: int, axis: tuple[np.ndarray, np.ndarray, np.ndarray] | None) -> float:
        if axis is None:
            return 1.0
        point, direction, side = axis
        offset = self.rest[vertex] - point
        radial = unit(offset - (offset @ direction) * direction)
        return 1.0 + 5.0 * (1.0 - float(radial @ unit(side)))


def _walk_back(came_from: dict[int, int], end: int) -> list[int]:
    path = [end]
    while came_from[path[-1]] >= 0:
        path.append(came_from[path[-1]])
    return path[::-1]
