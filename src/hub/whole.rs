//! Whether a file in the cache is what the Hub has. hf-hub itself does not look: it neither counts
//! the bytes that came, nor asks whether the answer was the file or an error page.

use std::io;
use std::path::Path;

use crate::model::files::sha256;

/// The file's size, or what is wrong with it. `expected` is its size by the Hub, 0 if not known.
pub(super) fn check(path: &Path, expected: u64) -> Result<u64, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let size = bytes.len() as u64;
    if expected != 0 && size != expected {
        return Err(format!("has {size} bytes instead of {expected}"));
    }
    if let Some(hash) = name_of_blob(path) {
        let found = sha256(&[&bytes]);
        if found != hash {
            return Err(format!("has SHA-256 {found} instead of {hash}"));
        }
    } else if path.extension().is_some_and(|e| e == "json") {
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
            .map_err(|error| format!("is not whole: {error}"))?;
    }
    Ok(size)
}

/// Takes a file out of the cache, from both of its places.
pub(super) fn discard(path: &Path) {
    // What cannot be removed is found damaged again, and said to be so.
    if let Ok(blob) = path.canonicalize() {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
}

/// The hash by which the cache calls a large file; small ones go by git's hash, which is another.
fn name_of_blob(path: &Path) -> Option<String> {
    let blob = std::fs::read_link(path).ok()?;
    let name = blob.file_name()?.to_str()?;
    let hash = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    hash.then(|| name.to_ascii_lowercase())
}
