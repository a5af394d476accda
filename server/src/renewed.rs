//! Files that are read again when they change, without a restart.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Most bytes of such a file.
const MOST: u64 = 64 << 20;

/// The content of the files, in their order.
pub(crate) type Contents = [Zeroizing<Vec<u8>>];

/// What is made of the files, or why nothing can be: cause, then remedy, in one line.
type Make<T> = Box<dyn Fn(&Contents) -> Result<T, String> + Send + Sync>;

/// What files say, as it is now.
pub(crate) struct Renewed<T> {
    places: Vec<PathBuf>,
    make: Make<T>,
    now: RwLock<Arc<T>>,
    /// What the files were when they were looked at last.
    seen: Mutex<[u8; 32]>,
}

impl<T> Renewed<T> {
    /// Reads files.
    ///
    /// # Errors
    /// What the system says, with the place; what is wrong with them.
    pub(crate) fn open(
        places: Vec<PathBuf>,
        make: impl Fn(&Contents) -> Result<T, String> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (contents, digest) = read(&places)?;
        let now = RwLock::new(Arc::new(make(&contents).map_err(io::Error::other)?));
        Ok(Renewed { places, make: Box::new(make), now, seen: Mutex::new(digest) })
    }

    /// What they said when they were last in order.
    pub(crate) fn now(&self) -> Arc<T> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Can look whether its files changed.
pub(crate) trait Renew: Send + Sync {
    /// Reads the files again if they are not what they were at the last look, or if it is told to;
    /// says whether what they say is in use from now on.
    ///
    /// # Errors
    /// As [`Renewed::open`]; what was in use stays in use.
    fn renew(&self, told: bool) -> io::Result<bool>;
}

impl<T: Send + Sync> Renew for Renewed<T> {
    fn renew(&self, told: bool) -> io::Result<bool> {
        let (contents, digest) = read(&self.places)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == digest && !told {
            return Ok(false);
        }
        *seen = digest;
        let made = Arc::new((self.make)(&contents).map_err(io::Error::other)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(true)
    }
}

/// The contents of files, wiped when they are dropped.
type Files = Vec<Zeroizing<Vec<u8>>>;

fn read(places: &[PathBuf]) -> io::Result<(Files, [u8; 32])> {
    let mut digest = Sha256::new();
    let mut contents = Vec::with_capacity(places.len());
    for place in places {
        let mut content = Zeroizing::new(Vec::new());
        let at = |e: io::Error| {
            let remedy = "name a file that the service may read";
            io::Error::new(e.kind(), format!("{}: {e}; {remedy}", place.display()))
        };
        File::open(place).and_then(|f| f.take(MOST + 1).read_to_end(&mut content)).map_err(at)?;
        if content.len() as u64 > MOST {
            let text = format!("{}: it has more than {} MiB", place.display(), MOST >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        digest.update((content.len() as u64).to_le_bytes());
        digest.update(&*content);
        contents.push(content);
    }
    Ok((contents, digest.finalize().into()))
}
