//! AES-256-GCM (NIST SP 800-38D), one key for one object: by aes-gcm, or, with the feature
//! `aws-lc`, by AWS-LC, which is faster if the processor has wide vectors. Both give the same
//! bytes.

/// A nonce of AES-256-GCM.
pub(super) type Nonce = [u8; 12];
/// An authentication tag of AES-256-GCM.
pub(super) type Tag = [u8; crate::limits::TAG_BYTES];

#[cfg(not(feature = "aws-lc"))]
mod provider {
    use aes_gcm::aead::AeadInOut;
    use aes_gcm::aead::inout::InOutBuf;
    use aes_gcm::{Aes256Gcm, KeyInit};

    use super::{Nonce, Tag};

    // Without aes-gcm's feature `zeroize` the key schedule of a dropped cipher stays in memory;
    // without that feature this does not compile.
    const _: fn() = || {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<Aes256Gcm>();
    };

    pub(in crate::crypto) struct Cipher(Box<Aes256Gcm>);

    impl Cipher {
        pub(in crate::crypto) fn new(key: &[u8; 32]) -> Self {
            Cipher(Box::new(Aes256Gcm::new(key.into())))
        }

        pub(in crate::crypto) fn seal(&self, nonce: &Nonce, text: &mut [u8]) -> Option<Tag> {
            self.0.encrypt_inout_detached(nonce.into(), &[], text.into()).ok().map(Into::into)
        }

        /// Opens into `out`, which is as long as `sealed`.
        pub(in crate::crypto) fn open(
            &self,
            nonce: &Nonce,
            sealed: &[u8],
            tag: &Tag,
            out: &mut [u8],
        ) -> bool {
            InOutBuf::new(sealed, out).is_ok_and(|both| {
                self.0.decrypt_inout_detached(nonce.into(), &[], both, tag.into()).is_ok()
            })
        }
    }
}

#[cfg(feature = "aws-lc")]
mod provider {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};

    use super::{Nonce, Tag};

    /// AWS-LC zeroizes what it frees, key schedules among it.
    pub(in crate::crypto) struct Cipher(LessSafeKey);

    impl Cipher {
        pub(in crate::crypto) fn new(key: &[u8; 32]) -> Self {
            match UnboundKey::new(&AES_256_GCM, key) {
                Ok(key) => Cipher(LessSafeKey::new(key)),
                Err(_) => unreachable!("32 bytes are an AES-256 key"),
            }
        }

        pub(in crate::crypto) fn seal(&self, nonce: &Nonce, text: &mut [u8]) -> Option<Tag> {
            let tag = self.0.seal_in_place_separate_tag(nonce.into(), Aad::empty(), text).ok()?;
            tag.as_ref().try_into().ok()
        }

        /// Opens into `out`, which is as long as `sealed`.
        pub(in crate::crypto) fn open(
            &self,
            nonce: &Nonce,
            sealed: &[u8],
            tag: &Tag,
            out: &mut [u8],
        ) -> bool {
            self.0.open_separate_gather(nonce.into(), Aad::empty(), sealed, tag, out).is_ok()
        }
    }
}

pub(super) use provider::Cipher;
