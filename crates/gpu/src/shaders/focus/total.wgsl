// The sum of y(v) = dq * S(v) / 2^32 over a block of rows, one block a workgroup.

struct Shape {
    rows: u32,
    damping: u32,
    // Where the totals of these rows begin.
    first: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> sums: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> totals: array<vec2<u32>>;

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
    var own = vec2(0u);
    for (var i = lane; i < BLOCK; i += LANES) {
        let row = block * BLOCK + i;
        if row < shape.rows {
            own = sum(own, scaled(sums[row], shape.damping));
        }
    }
    let all = all_lanes(lane, own);
    if lane == 0u {
        totals[shape.first + block] = all;
    }
}
