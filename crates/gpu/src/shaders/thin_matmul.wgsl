// c = a b in f32 for few rows of a: memory bound, so that each value of b is read once for each row, by
// neighbours side by side. A workgroup makes 32 columns of one row; the inner dimension is dealt out to 8
// slices, whose sums are added at the end.

const COLUMNS = 32u;
const SLICES = 8u;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(32, 8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y;
    let column = group.x * COLUMNS + local.x;
    var sum = 0.0;
    if column < shape.n && row < shape.m {
        for (var p = local.y; p < shape.k; p += SLICES) {
            sum += a[row * shape.k + p] * b[p * shape.n + column];
        }
    }
    partial[lane] = sum;
    workgroupBarrier();
    if local.y > 0u || column >= shape.n || row >= shape.m {
        return;
    }
    for (var slice = 1u; slice < SLICES; slice++) {
        sum += partial[slice * COLUMNS + local.x];
    }
    c[row * shape.n + column] = sum;
}
