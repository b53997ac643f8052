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
    let end = starts[slice + 1u];
    var i = starts[slice] + lane;
    var moved = vec2(0u);
    // Four at once: their loads do not wait for each other.
    for (; i + 3u * SLICE < end; i += 4u * SLICE) {
        let a = entries[i];
        let b = entries[i + SLICE];
        let c = entries[i + 2u * SLICE];
        let d = entries[i + 3u * SLICE];
        let ab = sum(scaled(pi[a.x], a.y), scaled(pi[b.x], b.y));
        let cd = sum(scaled(pi[c.x], c.y), scaled(pi[d.x], d.y));
        moved = sum(moved, sum(ab, cd));
    }
    for (; i < end; i += SLICE) {
        let entry = entries[i];
        moved = sum(moved, scaled(pi[entry.x], entry.y));
    }
    if row != NO_ROW {
        sums[row] = sum(sums[row], moved);
    }
}
