//! The TLS provider against the sample packets of RFC 9001 Appendix A.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use anthill_net::tls::{TLS13_AES_128_GCM_SHA256, provider};
use rustls::Side;
use rustls::quic::{Keys, Version};

/// A.1: the connection id that the client chose.
const CONNECTION_ID: &str = "8394c8f03e515708";

/// A.2: the client's header before protection.
const CLIENT_HEADER: &str = "c300000001088394c8f03e5157080000449e00000002";
/// A.2: the client's CRYPTO frame; padding follows up to 1162 bytes.
const CLIENT_FRAME: &str = "\
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868\
    04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578\
    616d706c652e636f6dff01000100000a00080006001d00170018001000070005\
    04616c706e000500050100000000003300260024001d00209370b2c9caa47fba\
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400\
    0d0010000e0403050306030203080408050806002d00020101001c0002400100\
    3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000\
    75300901100f088394c8f03e51570806048000ffff";
/// A.2: the client's protected packet.
const CLIENT_PACKET: &str = "\
    c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11\
    d242b123dc9bd8bab936b47d92ec356c0bab7df5976d27cd449f63300099f399\
    1c260ec4c60d17b31f8429157bb35a1282a643a8d2262cad67500cadb8e7378c\
    8eb7539ec4d4905fed1bee1fc8aafba17c750e2c7ace01e6005f80fcb7df6212\
    30c83711b39343fa028cea7f7fb5ff89eac2308249a02252155e2347b63d58c5\
    457afd84d05dfffdb20392844ae812154682e9cf012f9021a6f0be17ddd0c208\
    4dce25ff9b06cde535d0f920a2db1bf362c23e596d11a4f5a6cf3948838a3aec\
    4e15daf8500a6ef69ec4e3feb6b1d98e610ac8b7ec3faf6ad760b7bad1db4ba3\
    485e8a94dc250ae3fdb41ed15fb6a8e5eba0fc3dd60bc8e30c5c4287e53805db\
    059ae0648db2f64264ed5e39be2e20d82df566da8dd5998ccabdae053060ae6c\
    7b4378e846d29f37ed7b4ea9ec5d82e7961b7f25a9323851f681d582363aa5f8\
    9937f5a67258bf63ad6f1a0b1d96dbd4faddfcefc5266ba6611722395c906556\
    be52afe3f565636ad1b17d508b73d8743eeb524be22b3dcbc2c7468d54119c74\
    68449a13d8e3b95811a198f3491de3e7fe942b330407abf82a4ed7c1b311663a\
    c69890f4157015853d91e923037c227a33cdd5ec281ca3f79c44546b9d90ca00\
    f064c99e3dd97911d39fe9c5d0b23a229a234cb36186c4819e8b9c5927726632\
    291d6a418211cc2962e20fe47feb3edf330f2c603a9d48c0fcb5699dbfe58964\
    25c5bac4aee82e57a85aaf4e2513e4f05796b07ba2ee47d80506f8d2c25e50fd\
    14de71e6c418559302f939b0e1abd576f279c4b2e0feb85c1f28ff18f58891ff\
    ef132eef2fa09346aee33c28eb130ff28f5b766953334113211996d20011a198\
    e3fc433f9f2541010ae17c1bf202580f6047472fb36857fe843b19f5984009dd\
    c324044e847a4f4a0ab34f719595de37252d6235365e9b84392b061085349d73\
    203a4a13e96f5432ec0fd4a1ee65accdd5e3904df54c1da510b0ff20dcc0c77f\
    cb2c0e0eb605cb0504db87632cf3d8b4dae6e705769d1de354270123cb11450e\
    fc60ac47683d7b8d0f811365565fd98c4c8eb936bcab8d069fc33bd801b03ade\
    a2e1fbc5aa463d08ca19896d2bf59a071b851e6c239052172f296bfb5e724047\
    90a2181014f3b94a4e97d117b438130368cc39dbb2d198065ae3986547926cd2\
    162f40a29f0c3c8745c0f50fba3852e566d44575c29d39a03f0cda721984b6f4\
    40591f355e12d439ff150aab7613499dbd49adabc8676eef023b15b65bfc5ca0\
    6948109f23f350db82123535eb8a7433bdabcb909271a6ecbcb58b936a88cd4e\
    8f2e6ff5800175f113253d8fa9ca8885c2f552e657dc603f252e1a8e308f76f0\
    be79e2fb8f5d5fbbe2e30ecadd220723c8c0aea8078cdfcb3868263ff8f09400\
    54da48781893a7e49ad5aff4af300cd804a6b6279ab3ff3afb64491c85194aab\
    760d58a606654f9f4400e8b38591356fbf6425aca26dc85244259ff2b19c41b9\
    f96f3ca9ec1dde434da7d2d392b905ddf3d1f9af93d1af5950bd493f5aa731b4\
    056df31bd267b6b90a079831aaf579be0a39013137aac6d404f518cfd4684064\
    7e78bfe706ca4cf5e9c5453e9f7cfd2b8b4c8d169a44e55c88d4a9a7f9474241\
    e221af44860018ab0856972e194cd934";

/// A.3: the server's header before protection.
const SERVER_HEADER: &str = "c1000000010008f067a5502a4262b50040750001";
/// A.3: the server's payload.
const SERVER_PAYLOAD: &str = "\
    02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf739\
    88cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c94\
    0d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00\
    020304";
/// A.3: the server's protected packet.
const SERVER_PACKET: &str = "\
    cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a\
    5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3\
    dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84\
    022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4\
    2158407dd074ee";

/// Bytes of the header before the packet number, in both samples.
const NUMBER_OFFSET: usize = 18;

fn hex(s: &str) -> Vec<u8> {
    hex::decode(s).unwrap()
}

/// Keys of Initial packets as `side` holds them.
fn keys(side: Side) -> Keys {
    let suite = &TLS13_AES_128_GCM_SHA256;
    let quic = suite.quic.unwrap();
    Keys::initial(Version::V1, suite, quic, &hex(CONNECTION_ID), side)
}

/// Protects a packet as `side` does.
fn protect(side: Side, header: &str, number: u64, number_len: usize, payload: &[u8]) -> Vec<u8> {
    let keys = keys(side);
    let mut head = hex(header);
    let mut body = payload.to_vec();
    let tag = keys.local.packet.encrypt_in_place(number, &head, &mut body).unwrap();
    body.extend_from_slice(tag.as_ref());
    let sample = &body[4 - number_len..][..16];
    let (first, rest) = head.split_first_mut().unwrap();
    let number = &mut rest[NUMBER_OFFSET - 1..][..number_len];
    keys.local.header.encrypt_in_place(sample, first, number).unwrap();
    [head, body].concat()
}

/// Opens a packet as `side` does: the header, then the payload.
fn open(side: Side, packet: &str, number: u64, number_len: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let keys = keys(side);
    let mut packet = hex(packet);
    let sample = packet[NUMBER_OFFSET + 4..][..16].to_vec();
    let (first, rest) = packet.split_first_mut().unwrap();
    let field = &mut rest[NUMBER_OFFSET - 1..][..4];
    keys.remote.header.decrypt_in_place(&sample, first, field).unwrap();
    let body = packet.split_off(NUMBER_OFFSET + number_len);
    let mut body = body;
    let plain = keys.remote.packet.decrypt_in_place(number, &packet, &mut body).ok()?;
    let plain = plain.to_vec();
    Some((packet, plain))
}

fn client_payload() -> Vec<u8> {
    let mut payload = hex(CLIENT_FRAME);
    payload.resize(1162, 0);
    payload
}

#[test]
fn a2_client_initial_is_reproduced_and_opened() {
    let packet = protect(Side::Client, CLIENT_HEADER, 2, 4, &client_payload());
    assert_eq!(hex::encode(packet), CLIENT_PACKET);
    let (header, payload) = open(Side::Server, CLIENT_PACKET, 2, 4).unwrap();
    assert_eq!(hex::encode(header), CLIENT_HEADER);
    assert_eq!(payload, client_payload());
}

#[test]
fn a3_server_initial_is_reproduced_and_opened() {
    let packet = protect(Side::Server, SERVER_HEADER, 1, 2, &hex(SERVER_PAYLOAD));
    assert_eq!(hex::encode(packet), SERVER_PACKET);
    let (header, payload) = open(Side::Client, SERVER_PACKET, 1, 2).unwrap();
    assert_eq!(hex::encode(header), SERVER_HEADER);
    assert_eq!(hex::encode(payload), SERVER_PAYLOAD);
}

#[test]
fn a2_header_protection_mask() {
    // mask = AES-ECB(hp, sample) = 437b9aec36: bits of the first byte, then the packet number.
    let keys = keys(Side::Client);
    let sample = hex("d1b1c98dd7689fb8ec11d242b123dc9b");
    let (mut first, mut number) = (0xc3, [0, 0, 0, 2]);
    keys.local.header.encrypt_in_place(&sample, &mut first, &mut number).unwrap();
    assert_eq!((first, number), (0xc0, [0x7b, 0x9a, 0xec, 0x34]));
    // A short header masks five bits.
    let (mut first, mut number) = (0x43, [0; 4]);
    keys.local.header.encrypt_in_place(&sample, &mut first, &mut number).unwrap();
    assert_eq!(first, 0x40);
    assert_eq!(number, [0x7b, 0x9a, 0xec, 0x36]);
}

#[test]
fn wrong_lengths_change_nothing() {
    let keys = keys(Side::Client);
    let (mut first, mut number) = (0xc3, [1, 2, 3, 4, 5]);
    let header = &keys.local.header;
    assert!(header.encrypt_in_place(&[0; 15], &mut first, &mut number[..4]).is_err());
    assert!(header.encrypt_in_place(&[0; 16], &mut first, &mut number).is_err());
    assert!(header.decrypt_in_place(&[0; 17], &mut first, &mut number[..4]).is_err());
    assert_eq!((first, number), (0xc3, [1, 2, 3, 4, 5]));
}

#[test]
fn every_altered_byte_of_a_packet_is_refused() {
    let good = hex(SERVER_PACKET);
    assert!(open(Side::Client, &hex::encode(&good), 1, 2).is_some());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let opened = open(Side::Client, &hex::encode(&bad), 1, 2);
        assert!(opened.is_none(), "byte {at} altered, packet accepted");
    }
}

#[test]
fn multipath_nonces_differ_by_path_and_agree_on_path_zero() {
    let (client, server) = (keys(Side::Client), keys(Side::Server));
    let (send, receive) = (&client.local.packet, &server.remote.packet);
    let seal = |path: u32| {
        let mut body = b"payload".to_vec();
        let tag = send.encrypt_in_place_for_path(path, 5, b"header", &mut body).unwrap();
        body.extend_from_slice(tag.as_ref());
        body
    };
    let mut single = b"payload".to_vec();
    let tag = send.encrypt_in_place(5, b"header", &mut single).unwrap();
    single.extend_from_slice(tag.as_ref());
    assert_eq!(seal(0), single);
    assert_ne!(seal(1), single);
    assert_ne!(seal(1), seal(256));
    let mut sealed = seal(7);
    let opened = receive.decrypt_in_place_for_path(7, 5, b"header", &mut sealed);
    assert_eq!(opened.unwrap(), b"payload");
    let mut sealed = seal(7);
    let opened = receive.decrypt_in_place_for_path(6, 5, b"header", &mut sealed);
    assert!(opened.is_err());
}

#[test]
fn the_provider_offers_one_suite_and_one_group() {
    let provider = provider();
    assert_eq!(provider.cipher_suites.len(), 1);
    assert_eq!(provider.cipher_suites[0].suite(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(provider.kx_groups.len(), 1);
    assert_eq!(provider.kx_groups[0].name(), rustls::NamedGroup::X25519);
}
