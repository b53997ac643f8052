// The sum over a workgroup, which its first invocation gets. Integers: any order has the same bits.

var<workgroup> part: array<vec2<u32>, LANES>;

fn all_lanes(lane: u32, value: vec2<u32>) -> vec2<u32> {
    part[lane] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half = half / 2u) {
        if lane < half {
            part[lane] = sum(part[lane], part[lane + half]);
        }
        workgroupBarrier();
    }
    let all = part[0];
    // The next sum may write only when every invocation has read this one.
    workgroupBarrier();
    return all;
}

