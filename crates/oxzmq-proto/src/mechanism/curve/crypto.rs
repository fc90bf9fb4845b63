//! The cryptography that CURVE needs, behind one trait, so that the crate that does it can be checked
//! against another and exchanged in one place.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets of every key: public, secret and shared.
pub(crate) const KEY: usize = 32;
/// Octets of a nonce.
pub(crate) const NONCE: usize = 24;
/// Octets of a box's authenticator, which stand before what is sealed.
pub(crate) const MAC: usize = 16;

/// What two key pairs have in common: the key of the boxes between them. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SharedKey(pub(super) [u8; KEY]);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// NaCl's `crypto_box` (Curve25519, HSalsa20, XSalsa20, Poly1305) in its parts. With a key that was
/// not agreed on but drawn, sealing and opening are `crypto_secretbox`.
pub(crate) trait Primitives {
    /// The public key that belongs to a secret one.
    fn public_key(secret: &[u8; KEY]) -> [u8; KEY];

    /// The key that the owner of `secret` shares with the owner of `public`; `None` if `public` is a
    /// point of low order, with which everybody would share the same.
    fn shared(public: &[u8; KEY], secret: &[u8; KEY]) -> Option<SharedKey>;

    /// Encrypt `data` in place; returns its authenticator.
    fn seal(key: &SharedKey, nonce: &[u8; NONCE], data: &mut [u8]) -> [u8; MAC];

    /// Check `mac`, in constant time, and decrypt `sealed` into `out`, which has the same length.
    /// False leaves `out` as it was.
    fn open(key: &SharedKey, nonce: &[u8; NONCE], mac: &[u8; MAC], sealed: &[u8], out: &mut [u8]) -> bool;

    /// As [`Primitives::open`], in place.
    fn open_in_place(key: &SharedKey, nonce: &[u8; NONCE], mac: &[u8; MAC], data: &mut [u8]) -> bool;

    /// HSalsa20: the key of the Salsa20 streams whose XSalsa20 nonces begin like this.
    fn subkey(key: &SharedKey, nonce: &[u8; 16]) -> SharedKey;

    /// Poly1305's authenticator of `data`. No key serves twice.
    fn authenticate(key: &[u8; KEY], data: &[u8]) -> [u8; MAC];

    /// Whether `mac` is what [`Primitives::authenticate`] says, in constant time.
    fn verify(key: &[u8; KEY], mac: &[u8; MAC], data: &[u8]) -> bool;
}

/// The implementation in use. Measured beside libsodium 1.0.18 on one machine: the same at 16 octets,
/// half its time at 256, 2.1 to 2.5 times its speed from 4 KiB on.
#[derive(Debug)]
pub(crate) struct Dryoc;

impl Primitives for Dryoc {
    fn public_key(secret: &[u8; KEY]) -> [u8; KEY] {
        let mut public = [0; KEY];
        dryoc::classic::crypto_core::crypto_scalarmult_base(&mut public, secret);
        public
    }

    fn shared(public: &[u8; KEY], secret: &[u8; KEY]) -> Option<SharedKey> {
        let mut key = dryoc::classic::crypto_box::crypto_box_beforenm(public, secret).ok()?;
        let shared = SharedKey(key);
        key.zeroize();
        Some(shared)
    }

    fn seal(key: &SharedKey, nonce: &[u8; NONCE], data: &mut [u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        dryoc::classic::crypto_box::crypto_box_detached_afternm_inplace(data, &mut mac, nonce, &key.0);
        mac
    }

    fn open(key: &SharedKey, nonce: &[u8; NONCE], mac: &[u8; MAC], sealed: &[u8], out: &mut [u8]) -> bool {
        dryoc::classic::crypto_box::crypto_box_open_detached_afternm(out, sealed, mac, nonce, &key.0).is_ok()
    }

    fn open_in_place(key: &SharedKey, nonce: &[u8; NONCE], mac: &[u8; MAC], data: &mut [u8]) -> bool {
        dryoc::classic::crypto_box::crypto_box_open_detached_afternm_inplace(data, mac, nonce, &key.0).is_ok()
    }

    fn subkey(key: &SharedKey, nonce: &[u8; 16]) -> SharedKey {
        let mut subkey = SharedKey([0; KEY]);
        dryoc::classic::crypto_core::crypto_core_hsalsa20(&mut subkey.0, nonce, &key.0, None);
        subkey
    }

    fn authenticate(key: &[u8; KEY], data: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        dryoc::classic::crypto_onetimeauth::crypto_onetimeauth(&mut mac, data, key);
        mac
    }

    fn verify(key: &[u8; KEY], mac: &[u8; MAC], data: &[u8]) -> bool {
        dryoc::classic::crypto_onetimeauth::crypto_onetimeauth_verify(mac, data, key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use crypto_box::SalsaBox;
    use crypto_box::aead::AeadInPlace;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let octets = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
        octets.collect::<Vec<u8>>().try_into().unwrap()
    }

    // The keys, nonce, message and box of NaCl's tests.
    const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    const SHARED: &str = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
    const NONCE_USED: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    const MESSAGE: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a\
        1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f\
        21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705";
    const BOX: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c5\
        31a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae\
        90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5";

    #[test]
    fn nacls_own_vectors_hold() {
        assert_eq!(Dryoc::public_key(&hex(ALICE)), hex(ALICE_PUBLIC));
        assert_eq!(Dryoc::public_key(&hex(BOB)), hex(BOB_PUBLIC));
        let key = Dryoc::shared(&hex(BOB_PUBLIC), &hex(ALICE)).unwrap();
        assert_eq!(key.0, hex(SHARED));
        assert_eq!(Dryoc::shared(&hex(ALICE_PUBLIC), &hex(BOB)).unwrap().0, key.0);
        let expected: [u8; 147] = hex(BOX);
        let message: [u8; 131] = hex(MESSAGE);
        let mut data = message;
        let mac = Dryoc::seal(&key, &hex(NONCE_USED), &mut data);
        assert_eq!([&mac[..], &data].concat(), expected);
        let mut opened = [0; 131];
        assert!(Dryoc::open(&key, &hex(NONCE_USED), &mac, &data, &mut opened));
        assert_eq!(opened, message);
    }

    #[test]
    fn a_second_implementation_agrees_at_every_size() {
        let (ours, theirs): ([u8; KEY], [u8; KEY]) = (hex(ALICE), hex(BOB));
        let key = Dryoc::shared(&Dryoc::public_key(&theirs), &ours).unwrap();
        let their_secret = crypto_box::SecretKey::from(theirs);
        assert_eq!(their_secret.public_key().as_bytes(), &Dryoc::public_key(&theirs));
        let other = SalsaBox::new(&crypto_box::PublicKey::from(Dryoc::public_key(&ours)), &their_secret);
        for size in (0..200).chain([255, 256, 257, 511, 1024, 4097, 65_537]) {
            let message: Vec<u8> = (0..size).map(|at| (at * 7 + size) as u8).collect();
            let mut nonce: [u8; NONCE] = hex(NONCE_USED);
            nonce[23] = size as u8;
            let mut sealed = message.clone();
            let mac = Dryoc::seal(&key, &nonce, &mut sealed);
            let mut again = message.clone();
            let other_mac = other.encrypt_in_place_detached(&nonce.into(), b"", &mut again).unwrap();
            assert_eq!((&sealed, &mac[..]), (&again, &other_mac[..]), "{size}");
            other.decrypt_in_place_detached(&nonce.into(), b"", &mut again, &mac.into()).unwrap();
            assert_eq!(again, message);
            let mut opened = vec![0; size];
            assert!(Dryoc::open(&key, &nonce, &mac, &sealed, &mut opened));
            assert_eq!(opened, message);
            assert!(Dryoc::open_in_place(&key, &nonce, &mac, &mut sealed));
            assert_eq!(sealed, message);
        }
    }

    #[test]
    fn a_changed_bit_is_noticed_anywhere() {
        let key = SharedKey([3; KEY]);
        let nonce = [5; NONCE];
        let mut data = [9; 40];
        let mac = Dryoc::seal(&key, &nonce, &mut data);
        for bit in 0..8 * (MAC + data.len()) {
            let (mut mac, mut data) = (mac, data);
            match bit.checked_sub(8 * MAC) {
                None => mac[bit / 8] ^= 1 << (bit % 8),
                Some(bit) => data[bit / 8] ^= 1 << (bit % 8),
            }
            assert!(!Dryoc::open(&key, &nonce, &mac, &data, &mut [0; 40]), "{bit}");
            assert!(!Dryoc::open_in_place(&key, &nonce, &mac, &mut data), "{bit}");
        }
    }

    #[test]
    fn points_of_low_order_are_refused() {
        let one = hex("0100000000000000000000000000000000000000000000000000000000000000");
        let of_order_eight = [
            hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
            hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        ];
        let minus_one = hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        for public in [[0; KEY], one, minus_one].iter().chain(&of_order_eight) {
            assert!(Dryoc::shared(public, &hex(ALICE)).is_none(), "{public:?}");
        }
    }

    /// Wycheproof's X25519: awkward keys, and results that are zero. What is shared is not used as it is but through HSalsa20.
    #[test]
    fn wycheproofs_vectors_hold() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../../../tests/data/x25519.json")).unwrap();
        let tests = file["tests"].as_array().unwrap();
        let mut refused = 0;
        for test in tests {
            let of = |name: &str| hex::<KEY>(test[name].as_str().unwrap());
            let shared = of("shared");
            let ours = Dryoc::shared(&of("public"), &of("private"));
            let expected = (shared != [0; KEY]).then(|| Dryoc::subkey(&SharedKey(shared), &[0; 16]).0);
            assert_eq!(ours.as_ref().map(|key| key.0), expected, "{}", test["tcId"]);
            refused += usize::from(ours.is_none());
        }
        assert!(tests.len() == 518 && refused > 20, "{refused} of {}", tests.len());
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", SharedKey([7; KEY])), "SharedKey(..)");
    }
}
