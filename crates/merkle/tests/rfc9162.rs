//! The list tree against published roots and against all sizes up to 40.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use anthill_merkle::rfc9162::*;
use proptest::prelude::*;

/// The eight leaves and roots of the Certificate Transparency reference tests.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn published_roots() {
    let leaves = LEAVES.map(unhex);
    for n in 1..=8 {
        assert_eq!(root::<Sha256Tree>(&leaves[..n]).to_vec(), unhex(ROOTS[n - 1]), "size {n}");
    }
    let none: [&[u8]; 0] = [];
    let sha256_of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(root::<Sha256Tree>(&none).to_vec(), unhex(sha256_of_nothing));
    let sha3_of_nothing = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a";
    assert_eq!(root::<Sha3Tree>(&none).to_vec(), unhex(sha3_of_nothing));
}

#[test]
fn every_leaf_and_every_prefix_up_to_40() {
    let data: Vec<[u8; 4]> = (0u32..40).map(u32::to_be_bytes).collect();
    for n in 1..=data.len() {
        let hashes = leaf_hashes::<Sha3Tree>(&data[..n]);
        let whole = root_of_hashes::<Sha3Tree>(&hashes);
        for i in 0..n {
            let proof = inclusion_proof::<Sha3Tree>(&data[..n], i).unwrap();
            verify_inclusion::<Sha3Tree>(&data[i], i as u64, n as u64, &proof, &whole).unwrap();
            let other = (i + 1) % n;
            if other != i {
                let (at, size) = (other as u64, n as u64);
                verify_inclusion::<Sha3Tree>(&data[i], at, size, &proof, &whole).unwrap_err();
            }
            let old = root_of_hashes::<Sha3Tree>(&hashes[..=i]);
            let proof = consistency_proof::<Sha3Tree>(&hashes, i + 1).unwrap();
            let (a, b) = (i as u64 + 1, n as u64);
            verify_consistency::<Sha3Tree>(a, &old, b, &whole, &proof).unwrap();
            if a != b {
                verify_consistency::<Sha3Tree>(a, &whole, b, &whole, &proof).unwrap_err();
            }
        }
    }
}

#[test]
fn out_of_range_is_a_typed_error() {
    let data = [[1u8], [2]];
    assert_eq!(
        inclusion_proof::<Sha256Tree>(&data, 2),
        Err(ProofError::NoSuchLeaf { index: 2, size: 2 })
    );
    let hashes = leaf_hashes::<Sha256Tree>(&data);
    assert_eq!(
        consistency_proof::<Sha256Tree>(&hashes, 0),
        Err(ProofError::NotAnExtension { old: 0, new: 2 })
    );
}

proptest! {
    #[test]
    fn an_altered_proof_is_refused(n in 1usize..60, pick in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let data: Vec<[u8; 8]> = (0..n as u64).map(u64::to_be_bytes).collect();
        let whole = root::<Sha256Tree>(&data);
        let i = pick.index(n);
        let (index, size) = (i as u64, n as u64);
        let mut proof = inclusion_proof::<Sha256Tree>(&data, i).unwrap();
        if cut || proof.is_empty() {
            proof.push([flip; 32]);
        } else {
            let byte = at.index(proof.len() * 32);
            proof[byte / 32][byte % 32] ^= flip;
        }
        prop_assert!(verify_inclusion::<Sha256Tree>(&data[i], index, size, &proof, &whole).is_err());
    }
}
