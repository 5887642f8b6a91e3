#version 300 es
// One corner of the quad around one Gaussian: EWA splatting (Zwicker et al. 2002, Eq. 24-29).
precision highp float;
precision highp int;

const float EPS2D = 0.3;      // px^2 added to the projected variances
const float ALPHA_MIN = 1.0 / 255.0;
const float NEAR = 0.01;      // metres

uniform highp usampler2D rows;   // two texels a Gaussian: the 32 bytes of its row
uniform mat3 rotation;           // camera from world, OpenCV axes
uniform vec3 translation;        // metres
uniform vec2 focal, centre;      // pixels
uniform vec2 size;               // pixels

in vec2 corner;                  // -1 or 1
in uint id;                      // which Gaussian; the most distant one comes first

out vec2 offset;                 // from the centre, in standard deviations
out vec4 colour;

vec4 bytes(uint word) {
  return vec4(word & 255u, (word >> 8) & 255u, (word >> 16) & 255u, word >> 24);
}

mat3 matrixOf(vec4 q) {  // (w, x, y, z)
  q = normalize(q);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(  // column by column
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

#ifdef MOVING
uniform highp usampler2D binding;   // a texel a Gaussian: vertices, weights, whether it turns
uniform highp sampler2D vertices;   // two texels a vertex: position (metres), rotation (w, x, y, z)

vec4 product(vec4 a, vec4 b) {
  return vec4(a.x * b.x - dot(a.yzw, b.yzw), a.x * b.yzw + b.x * a.yzw + cross(a.yzw, b.yzw));
}

// Carries a Gaussian from its surface point's axes to the posed body, as `Avatar.pose` does.
void ride(inout vec3 mean, inout vec4 turn) {
  int texel = int(id), width = textureSize(binding, 0).x, across = textureSize(vertices, 0).x;
  uvec3 word = texelFetch(binding, ivec2(texel % width, texel / width), 0).xyz;
  uint corners[3] = uint[](word.x & 65535u, word.x >> 16, word.y & 65535u);
  vec2 share = vec2(word.y >> 16, word.z & 65535u) / 65535.0;
  float weights[3] = float[](share.x, share.y, 1.0 - share.x - share.y);
  vec3 point = vec3(0.0);
  vec4 blend = vec4(0.0), one = vec4(0.0);
  for (int i = 0; i < 3; i++) {
    int at = int(corners[i]) * 2;
    point += weights[i] * texelFetch(vertices, ivec2(at % across, at / across), 0).xyz;
    vec4 q = texelFetch(vertices, ivec2(at % across + 1, at / across), 0);
    if (i == 0) one = q;  // q and -q are one rotation: all go to the first one's side
    blend += dot(q, one) < 0.0 ? -weights[i] * q : weights[i] * q;
  }
  blend = normalize(blend);
  mean = point + matrixOf(blend) * mean;
  if (word.z < 65536u) turn = product(blend, normalize(turn));
}
#endif

void main() {
  int texel = int(id) * 2, width = textureSize(rows, 0).x;
  uvec4 first = texelFetch(rows, ivec2(texel % width, texel / width), 0);
  uvec4 second = texelFetch(rows, ivec2(texel % width + 1, texel / width), 0);
  vec3 mean = uintBitsToFloat(first.xyz);
  vec3 scale = vec3(uintBitsToFloat(first.w), uintBitsToFloat(second.xy));
  vec4 turn = bytes(second.w) - 128.0;
  colour = bytes(second.z) / 255.0;
#ifdef MOVING
  ride(mean, turn);
#endif
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // outside, until it is known to be seen

  vec3 p = rotation * mean + translation;
  if (p.z < NEAR || colour.a < ALPHA_MIN) return;

  // The Jacobian of the projection, where the view ends no more than 0.3 of its half beyond it.
  vec2 margin = 0.15 * size / focal;
  vec2 slope = clamp(p.xy / p.z, -centre / focal - margin, (size - centre) / focal + margin);
  mat3 axes = rotation * matrixOf(turn);
  axes = mat3(axes[0] * scale.x, axes[1] * scale.y, axes[2] * scale.z);
  vec3 rowX = vec3(focal.x / p.z, 0.0, -focal.x / p.z * slope.x) * axes;
  vec3 rowY = vec3(0.0, focal.y / p.z, -focal.y / p.z * slope.y) * axes;
  float xx = dot(rowX, rowX) + EPS2D, xy = dot(rowX, rowY), yy = dot(rowY, rowY) + EPS2D;

  // Half axes of the ellipse, from the eigenvalues of [xx xy; xy yy].
  float middle = 0.5 * (xx + yy), spread = length(vec2(0.5 * (xx - yy), xy));
  float angle = 0.5 * atan(2.0 * xy, xx - yy + 1e-20);  // atan(0, 0) is undefined
  vec2 along = vec2(cos(angle), sin(angle)), across = vec2(-along.y, along.x);
  float reach = sqrt(2.0 * log(colour.a / ALPHA_MIN));  // beyond it lies less than ALPHA_MIN
  offset = corner * reach;
  vec2 px = focal * p.xy / p.z + centre
    + along * offset.x * sqrt(middle + spread)
    + across * offset.y * sqrt(max(middle - spread, 0.0));
  gl_Position = vec4(2.0 * px.x / size.x - 1.0, 1.0 - 2.0 * px.y / size.y, 0.0, 1.0);
}
