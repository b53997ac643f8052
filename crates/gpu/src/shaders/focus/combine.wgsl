// S(v) += the sum of the pieces of heavy row v, one row a workgroup.

struct Shape {
    rows: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Words: frozen, steps, rest (2), residuals (2 each).
@group(0) @binding(1) var<storage, read> state: array<u32>;
// Row, first piece, and the one after the last: three words each.
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read> moved: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> sums: array<vec2<u32>>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if state[0] != 0u || number >= shape.rows {
        return;
    }
    var own = vec2(0u);
    for (var i = rows[number * 3u + 1u] + lane; i < rows[number * 3u + 2u]; i += LANES) {
        own = sum(own, moved[i]);
    }
    let all = all_lanes(lane, own);
    if lane == 0u {
        let row = rows[number * 3u];
        sums[row] = sum(sums[row], all);
    }
}
