fn bytes4(word: u32) -> vec4<i32> {
    let signed = vec4<i32>(bitcast<i32>(word));
    return (signed << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
}

fn dot4(a: u32, b: u32) -> i32 {
    return dot(bytes4(a), bytes4(b));
}

