//! Where the certificate of an erase goes. The room for it is taken before anything is erased.

use std::io::Write;
use std::path::{Path, PathBuf};

use keyfall::Error;
use keyfall::certificate::Certificate;
use keyfall::env::{Env, System};

use crate::commands::draft::KeptDraft;
use crate::shell::outfile::{OutFile, Replace, untellable};
use crate::shell::outside::out_file;
use crate::shell::session::Session;
use keyfall::opening::absolute;

/// The certificate that was asked for: where it goes, and for whom and why it is to say the erase
/// was done.
pub(super) struct Wanted {
    pub(super) place: PathBuf,
    pub(super) replace: Replace,
    pub(super) authority: String,
    pub(super) ground: String,
}

/// Room for a certificate, taken before there is anything to certify.
pub(super) struct Delivery {
    pub(super) place: PathBuf,
    /// The certificate is made from this if it cannot be written in the end.
    pub(super) draft: KeptDraft,
    file: OutFile,
    /// Where the certificate goes if it is to be written through a pipe or a device, and that
    /// fails.
    spare: Option<Spare>,
}

/// Another file for a certificate.
struct Spare {
    place: PathBuf,
    file: OutFile,
}

impl Delivery {
    /// Takes room for a certificate of at most `bytes`.
    pub(super) fn prepare(
        session: &Session,
        store: &Path,
        wanted: Wanted,
        bytes: u64,
    ) -> Result<Self, Error> {
        let Wanted { place, replace, .. } = wanted;
        let mut file = out_file(session, store, &place, replace)?.private();
        file.reserve(bytes)?;
        let spare = if file.is_through() { Some(Spare::prepare(store, bytes)?) } else { None };
        // Nothing can lie beside a pipe or a descriptor.
        let draft = KeptDraft::beside(spare.as_ref().map_or(&place, |spare| &spare.place));
        Ok(Delivery { place, draft, file, spare })
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.file.is_stdout()
    }

    /// Writes the certificate, and removes its draft once it is in a file. If it had to go to the
    /// spare file, the error says so.
    pub(super) fn write(mut self, certificate: &Certificate) -> Result<(), Error> {
        let text = certificate.to_string();
        let place = &self.place;
        let written = self.file.write_all(text.as_bytes()).map_err(|e| untellable(place, e));
        let written = written.and_then(|()| self.file.finish());
        let (e, mut spare) = match (written, self.spare) {
            (Ok(()), _) => {
                self.draft.remove();
                return Ok(());
            }
            (Err(e), None) => return Err(e),
            (Err(e), Some(spare)) => (e, spare),
        };
        let saved = spare.file.write_all(text.as_bytes());
        let saved = saved.map_err(|e| untellable(&spare.place, e));
        let text = match saved.and_then(|()| spare.file.finish()) {
            Ok(()) => {
                self.draft.remove();
                format!("{e}; the certificate is in {}", spare.place.display())
            }
            Err(also) => format!("{e}; {also}"),
        };
        Err(Error::new(e.kind(), text))
    }
}

impl Spare {
    /// Takes room beside the store, or in the directory for temporary files.
    fn prepare(store: &Path, bytes: u64) -> Result<Self, Error> {
        let mut drawn = [0; 4];
        System.fill(&mut drawn)?;
        let name = format!("keyfall-{:08x}.erased", u32::from_be_bytes(drawn));
        let beside = absolute(store)?.parent().map(Path::to_owned).unwrap_or_default();
        let open = |dir: &Path| {
            let place = dir.join(&name);
            let mut file = OutFile::create(&place, Replace::Ordinary)?.private();
            file.reserve(bytes).map(|()| Spare { place, file })
        };
        open(&beside).or_else(|_| open(&std::env::temp_dir()))
    }
}
