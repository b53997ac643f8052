// S(v) += the sum over the entries of v of pi(u) * P(u, v) / 2^32, one row an invocation.

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
// Row, its first entry and the one after its last: three words each.
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> sources: array<u32>;
@group(0) @binding(4) var<storage, read> weights: array<u32>;
@group(0) @binding(5) var<storage, read> pi: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = (group.y * groups.x + group.x) * 64u + lane;
    if state[0] != 0u || number >= shape.count {
        return;
    }
    let row = rows[number * 3u];
    let end = rows[number * 3u + 2u];
    var i = rows[number * 3u + 1u];
    var moved = vec2(0u);
    // Four at once: their loads do not wait for each other.
    for (; i + 3u < end; i += 4u) {
        moved = sum(moved, sum(sum(flow(i), flow(i + 1u)), sum(flow(i + 2u), flow(i + 3u))));
    }
    for (; i < end; i++) {
        moved = sum(moved, flow(i));
    }
    sums[row] = sum(sums[row], moved);
}
