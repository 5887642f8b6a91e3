// Shows Gaussians: reads the rows of the page, sorts them by depth, and draws them as quads.
"use strict";

const ROW = 8;              // 32-bit words a Gaussian
const TEXTURE_WIDTH = 2048; // texels of four words, two a Gaussian
const BUCKETS = 65536;      // of depth, for sorting
const STEEPEST = 1.5;       // radians up or down

const text = (id) => document.getElementById(id).textContent;
const canvas = document.getElementById("canvas");
const scene = JSON.parse(text("scene"));

// ---- Small matrices, row by row as in `cam_from_world` ----

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const turn = (m, v) => [0, 3, 6].map((row) => dot(m.slice(row, row + 3), v));
const product = (a, b) => a.map((_, i) => {
  const row = i - (i % 3), column = i % 3;
  return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
});
const aboutX = (a) => [1, 0, 0, 0, Math.cos(a), -Math.sin(a), 0, Math.sin(a), Math.cos(a)];
const aboutY = (a) => [Math.cos(a), 0, Math.sin(a), 0, 1, 0, -Math.sin(a), 0, Math.cos(a)];

// ---- The rows ----

// The bytes of a block of the page, padded with zeros to a multiple.
function decode(name, multiple) {
  const binary = atob(text(name).trim());
  const bytes = new Uint8Array(Math.ceil(binary.length / multiple) * multiple);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

function readRows() {
  const buffer = decode("rows", 16 * TEXTURE_WIDTH);
  return { words: new Uint32Array(buffer), floats: new Float32Array(buffer), count: scene.count };
}

function standingDepths({ floats, count }, [x, y, z], depths) {
  for (let i = 0, at = 0; i < count; i++, at += ROW) {
    depths[i] = x * floats[at] + y * floats[at + 1] + z * floats[at + 2];
  }
}

// Fills `order` with the Gaussians from the most distant to the nearest: a counting sort.
function sortByDepth(depths, order) {
  let near = Infinity, far = -Infinity;
  for (const depth of depths) {
    if (depth < near) near = depth;
    if (depth > far) far = depth;
  }
  const scale = (BUCKETS - 1) / Math.max(far - near, 1e-9);
  const starts = new Uint32Array(BUCKETS + 1), buckets = new Uint16Array(depths.length);
  for (let i = 0; i < depths.length; i++) {
    buckets[i] = (far - depths[i]) * scale;
    starts[buckets[i] + 1]++;
  }
  for (let b = 0; b < BUCKETS; b++) starts[b + 1] += starts[b];
  for (let i = 0; i < depths.length; i++) order[starts[buckets[i]]++] = i;
}

// ---- The view: the first camera, turned and moved about the target ----

const start = { yaw: 0, pitch: 0, closer: 1, right: 0, down: 0 };
let view = { ...start };
let moment = 0; // of a motion, in frames

// The camera of a picture of `width` x `height` pixels, which shows all of the first view.
function cameraOf(width, height) {
  const scale = Math.min(width / scene.width, height / scene.height);
  const rotation = product(product(aboutX(view.pitch), scene.rotation), aboutY(view.yaw));
  const middle = turn(scene.rotation, scene.target).map((v, i) => v + scene.translation[i]);
  const away = middle.map((v) => v / view.closer); // the target in camera axes
  away[0] += view.right;
  away[1] += view.down;
  const turned = turn(rotation, scene.target);
  return {
    rotation,
    translation: away.map((v, i) => v - turned[i]),
    focal: scene.focal.map((f) => f * scale),
    centre: [width / 2 + (scene.centre[0] - scene.width / 2) * scale,
      height / 2 + (scene.centre[1] - scene.height / 2) * scale],
    depth: away[2],
  };
}

// ---- Drawing ----

function compile(gl, kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source.trim());
  gl.compileShader(shader);
  return shader;
}

function makeProgram(gl, moving) {
  const program = gl.createProgram(), define = moving ? "\n#define MOVING\n" : "\n";
  const vertex = text("vertex").trim().replace("\n", define); // after the line with the version
  gl.attachShader(program, compile(gl, gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, compile(gl, gl.FRAGMENT_SHADER, text("fragment")));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error([gl.getProgramInfoLog(program), ...logs].join("\n"));
  }
  gl.useProgram(program);
  return program;
}

// Makes a texture for texelFetch; it stays bound to its unit.
function makeTexture(gl, unit, place, [inside, format, type], channels, values) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
    gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  }
  gl.uniform1i(place, unit);
  const fill = () => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, TEXTURE_WIDTH,
      values.length / (channels * TEXTURE_WIDTH), 0, format, type, values);
  };
  fill();
  return fill;
}

function bindAttributes(gl, program, order) {
  const corner = gl.getAttribLocation(program, "corner"), id = gl.getAttribLocation(program, "id");
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(corner);
  gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); // stays bound: sorting writes into it
  gl.bufferData(gl.ARRAY_BUFFER, order.byteLength, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(id);
  gl.vertexAttribIPointer(id, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(id, 1);
}

function fitCanvas() {
  const density = Math.min(window.devicePixelRatio || 1, 2); // more costs much and shows little
  const width = Math.max(1, Math.round(canvas.clientWidth * density));
  const height = Math.max(1, Math.round(canvas.clientHeight * density));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return [width, height];
}

function makeDraw(motion) {
  const gl = canvas.getContext("webgl2", { antialias: false, depth: false });
  if (!gl) throw new Error("this browser does not offer WebGL 2");
  const program = makeProgram(gl, motion), place = (name) => gl.getUniformLocation(program, name);
  const rows = readRows(), depths = new Float32Array(rows.count);
  const order = new Uint32Array(rows.count);
  const four = [gl.RGBA32UI, gl.RGBA_INTEGER, gl.UNSIGNED_INT];
  const three = [gl.RGB32UI, gl.RGB_INTEGER, gl.UNSIGNED_INT];
  makeTexture(gl, 0, place("rows"), four, 4, rows.words);
  if (motion) makeTexture(gl, 1, place("binding"), three, 3, motion.binding);
  const uploadVertices = motion && makeTexture(
    gl, 2, place("vertices"), [gl.RGBA32F, gl.RGBA, gl.FLOAT], 4, motion.posed);
  bindAttributes(gl, program, order);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA); // colours come multiplied by alpha
  let posed = null, sorted = null; // for which moment and direction

  return () => {
    const [width, height] = fitCanvas(), camera = cameraOf(width, height);
    const forward = camera.rotation.slice(6);
    if (motion && posed !== moment) {
      poseVertices(motion, moment);
      uploadVertices();
      [posed, sorted] = [moment, null];
    }
    if (String(forward) !== sorted) {
      if (motion) ridingDepths(motion, rows, forward, depths);
      else standingDepths(rows, forward, depths);
      sortByDepth(depths, order);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
      sorted = String(forward);
    }
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniformMatrix3fv(place("rotation"), true, camera.rotation);
    gl.uniform3fv(place("translation"), camera.translation);
    gl.uniform2fv(place("focal"), camera.focal);
    gl.uniform2fv(place("centre"), camera.centre);
    gl.uniform2f(place("size"), width, height);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, rows.count);
  };
}

// ---- Mouse and touch ----

function move(dx, dy) { // CSS pixels
  const { focal, depth } = cameraOf(canvas.clientWidth, canvas.clientHeight);
  view.right += dx * depth / focal[0];
  view.down += dy * depth / focal[1];
}

function orbit(dx, dy) {
  view.yaw += 0.008 * dx;
  view.pitch = Math.min(STEEPEST, Math.max(-STEEPEST, view.pitch + 0.008 * dy));
}

function zoom(factor) {
  view.closer = Math.min(12, Math.max(0.2, view.closer * factor));
}

function listen(refresh) {
  const down = new Map(); // pointer to its last event
  const gap = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    document.getElementById("says").hidden = true;
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => down.delete(event.pointerId));
  }
  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY;
    const before = [...down.values()];
    down.set(event.pointerId, event);
    if (down.size === 2) {
      zoom(gap([...down.values()]) / Math.max(gap(before), 1));
      move(dx / 2, dy / 2);
    } else if (down.size === 1) {
      (event.buttons & 2 || event.shiftKey ? move : orbit)(dx, dy);
    }
    refresh();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-0.001 * event.deltaY * (event.deltaMode ? 16 : 1)));
    refresh();
  }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => { view = { ...start }; refresh(); });
  window.addEventListener("resize", refresh);
}

async function main() {
  const motion = scene.motion && await readMotion(scene.motion), draw = makeDraw(motion);
  let waiting = false; // at most one drawing for each frame of the screen
  const refresh = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  listen(refresh);
  draw();
  if (motion) listenToPlayer(motion, refresh);
}

main().catch((error) => {
  document.getElementById("says").textContent = `cannot show the avatar: ${error.message}`;
});
