// S(v) += the sum over the entries of v of pi(u) * P(u, v) / 2^32, one row an invocation. A slice is 64 rows
// of nearly equal length, its entries interleaved, so that neighbours read neighbours.

struct Shape {
    slices: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
// Source and weight.
@group(0) @binding(4) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read> pi: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<u32>>;

const SLICE = 64u;
// The rows that fill up the last slice.
const NO_ROW = 0xffffffffu;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slice = group.y * groups.x + group.x;
    if state[0] != 0u || slice >= shape.slices {
        return;
    }
    let row = rows[slice * SLICE + lane];
    var moved = vec2(0u);
    for (var i = starts[slice] + lane; i < starts[slice + 1u]; i += SLICE) {
        let entry = entries[i];
        moved = sum(moved, scaled(pi[entry.x], entry.y));
    }
    if row != NO_ROW {
        sums[row] = sum(sums[row], moved);
    }
}
