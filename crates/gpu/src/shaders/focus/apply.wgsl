// pi'(v) = y(v) + rest * t(v) / ONE in the place of pi(v), but for the lowest particle; the sums of pi' and of
// |pi' - pi| over a block of rows, one block a workgroup. S becomes zero for the next step.

struct Shape {
    rows: u32,
    damping: u32,
    // Where the changes of these rows begin.
    first: u32,
    // Row of the lowest particle, if it is here.
    lowest: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> teleport: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> pi: array<vec2<u32>>;
// Sum of pi', sum of |pi' - pi|.
@group(0) @binding(5) var<storage, read_write> changes: array<vec4<u32>>;

const BLOCK = LANES * 4u;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group.y * groups.x + group.x;
    if state[0] != 0u || block * BLOCK >= shape.rows {
        return;
    }
    let rest = vec2(state[2], state[3]);
    var mass = vec2(0u);
    var moved = vec2(0u);
    for (var i = lane; i < BLOCK; i += LANES) {
        let row = block * BLOCK + i;
        if row < shape.rows {
            if row != shape.lowest {
                let next = sum(scaled(sums[row], shape.damping), share(rest, teleport[row]));
                mass = sum(mass, next);
                moved = sum(moved, apart(next, pi[row]));
                pi[row] = next;
            }
            sums[row] = vec2(0u);
        }
    }
    let all_mass = all_lanes(lane, mass);
    let all_moved = all_lanes(lane, moved);
    if lane == 0u {
        changes[shape.first + block] = vec4(all_mass, all_moved);
    }
}
