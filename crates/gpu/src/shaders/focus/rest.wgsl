// rest = ONE - sum y, in one workgroup.

struct Shape {
    totals: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read> totals: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var own = vec2(0u);
    for (var i = lane; i < shape.totals; i += LANES) {
        own = sum(own, totals[i]);
    }
    let all = all_lanes(lane, own);
    if lane == 0u {
        let rest = difference(ONE, all);
        state[2] = rest.x;
        state[3] = rest.y;
    }
}
