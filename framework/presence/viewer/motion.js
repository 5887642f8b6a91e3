// A motion: the vertices of the body in each frame, and the Gaussians that ride them.
"use strict";

const VALUES = 7; // of a vertex in a frame: position, then rotation (w, x, y, z), as 16 bits each

// The values of all frames, of which the page holds the differences, compressed.
async function readFrames(size) {
  const packed = new Blob([decode("frames", 1)]).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  const frames = new Uint16Array(await new Response(stream).arrayBuffer());
  for (let i = size; i < frames.length; i++) frames[i] += frames[i - size];
  return frames;
}

async function readMotion(facts) {
  const count = facts.vertices, texels = Math.ceil(2 * count / TEXTURE_WIDTH) * TEXTURE_WIDTH;
  return { ...facts, frames: await readFrames(count * VALUES),
    binding: new Uint32Array(decode("binding", 12 * TEXTURE_WIDTH)),
    posed: new Float32Array(4 * texels), // two texels a vertex, as in splat.vert
    facing: new Float32Array(4 * count) };
}

// Fills `posed` for a moment between two frames.
function poseVertices({ frames, posed, vertices, length, low, high }, moment) {
  const first = Math.min(Math.max(Math.floor(moment), 0), length - 1), share = moment - first;
  const next = Math.min(first + 1, length - 1) * vertices * VALUES;
  const step = high.map((value, axis) => (value - low[axis]) / 65535), q = [0, 0, 0, 0];
  for (let v = 0, a = first * vertices * VALUES, b = next; v < vertices; v++) {
    for (let axis = 0; axis < 3; axis++, a++, b++) {
      posed[8 * v + axis] = low[axis] + step[axis] * (frames[a] + share * (frames[b] - frames[a]));
    }
    let same = 0, square = 0;
    for (let k = 0; k < 4; k++) same += (frames[a + k] - 32767.5) * (frames[b + k] - 32767.5);
    const other = same < 0 ? -share : share; // q and -q are one rotation
    for (let k = 0; k < 4; k++, a++, b++) {
      q[k] = (1 - share) * (frames[a] - 32767.5) + other * (frames[b] - 32767.5);
      square += q[k] * q[k];
    }
    for (let k = 0; k < 4; k++) posed[8 * v + 4 + k] = q[k] / Math.sqrt(square);
  }
}

// Fills `facing` with what depth along [x, y, z] needs of each vertex: the vertex's own depth, and
// the direction in the rest pose's axes (the inverse rotation of it).
function faceVertices({ posed, facing, vertices }, [x, y, z]) {
  for (let v = 0, at = 0; v < vertices; v++, at += 8) {
    const w = posed[at + 4], i = -posed[at + 5], j = -posed[at + 6], k = -posed[at + 7];
    const cx = 2 * (j * z - k * y), cy = 2 * (k * x - i * z), cz = 2 * (i * y - j * x);
    facing[4 * v] = x * posed[at] + y * posed[at + 1] + z * posed[at + 2];
    facing[4 * v + 1] = x + w * cx + j * cz - k * cy;
    facing[4 * v + 2] = y + w * cy + k * cx - i * cz;
    facing[4 * v + 3] = z + w * cz + i * cy - j * cx;
  }
}

// Fills `depths` of all Gaussians. Rotations are blended as matrices here, which is near enough to
// sort by; the shader blends quaternions.
function ridingDepths(motion, { floats, count }, forward, depths) {
  faceVertices(motion, forward);
  const { binding, facing } = motion;
  for (let i = 0, at = 0, word = 0; i < count; i++, at += ROW, word += 3) {
    const x = floats[at], y = floats[at + 1], z = floats[at + 2];
    const along = (v) => facing[v] + facing[v + 1] * x + facing[v + 2] * y + facing[v + 3] * z;
    const a = (binding[word + 1] >>> 16) / 65535, b = (binding[word + 2] & 65535) / 65535;
    depths[i] = a * along(4 * (binding[word] & 65535)) + b * along(4 * (binding[word] >>> 16))
      + (1 - a - b) * along(4 * (binding[word + 1] & 65535));
  }
}

// Plays `moment` from the first frame to the last, again and again.
function listenToPlayer({ length, fps }, refresh) {
  const [player, play, time] = ["player", "play", "time"].map((id) => document.getElementById(id));
  let since = null; // milliseconds of the last picture while it plays
  player.hidden = false;
  time.max = length - 1;
  time.value = 0;

  const tick = (now) => {
    if (since === null) return;
    moment = (moment + (now - since) / 1000 * fps) % Math.max(length - 1, 1e-6);
    since = now;
    time.value = moment;
    refresh();
    requestAnimationFrame(tick);
  };
  const start = () => {
    since = performance.now();
    play.textContent = "pause";
    requestAnimationFrame(tick);
  };
  const stop = () => { since = null; play.textContent = "play"; };

  play.addEventListener("click", () => since === null ? start() : stop());
  time.addEventListener("input", () => { stop(); moment = Number(time.value); refresh(); });
  if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) start();
}
