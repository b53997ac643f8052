// The lowest particle gets what the others leave of ONE: its own share and the units that the divisions lost.
// Then the residual is known, and a step within the tolerance freezes the state for the steps behind it.

struct Shape {
    changes: u32,
    // Row of the lowest particle.
    lowest: u32,
    // Tolerance, low word and high word.
    low: u32,
    high: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
// Sum of pi', sum of |pi' - pi|.
@group(0) @binding(2) var<storage, read> changes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> pi: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    var mass = vec2(0u);
    var moved = vec2(0u);
    for (var i = lane; i < shape.changes; i += LANES) {
        let change = changes[i];
        mass = sum(mass, change.xy);
        moved = sum(moved, change.zw);
    }
    let all_mass = all_lanes(lane, mass);
    let all_moved = all_lanes(lane, moved);
    if lane == 0u && state[0] == 0u {
        let next = difference(ONE, all_mass);
        let residual = sum(all_moved, apart(next, pi[shape.lowest]));
        pi[shape.lowest] = next;
        let step = state[1];
        state[4u + step * 2u] = residual.x;
        state[5u + step * 2u] = residual.y;
        state[1] = step + 1u;
        state[0] = u32(!below(vec2(shape.low, shape.high), residual));
    }
}
