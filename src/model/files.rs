//! Where a model's bytes come from: the binary itself or a directory. Reads whole files; checks
//! nothing but that they are there.

use std::borrow::Cow;
use std::path::Path;

use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::LoadError;

/// The three files of a model.
pub struct Files {
    /// `config.json`.
    pub config: Cow<'static, [u8]>,
    /// `tokenizer.json`.
    pub tokenizer: Cow<'static, [u8]>,
    /// `model.safetensors`.
    pub weights: Cow<'static, [u8]>,
}

impl Files {
    /// The names in a model directory.
    pub const NAMES: [&'static str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

    /// The model inside the binary; `None` if it was built without the feature `embedded-model`.
    pub fn embedded() -> Option<Self> {
        #[cfg(feature = "embedded-model")]
        return Some(Self {
            config: Cow::Borrowed(include_bytes!("../../models/news-en/config.json")),
            tokenizer: Cow::Borrowed(include_bytes!("../../models/news-en/tokenizer.json")),
            weights: Cow::Borrowed(include_bytes!("../../models/news-en/model.safetensors")),
        });
        #[cfg(not(feature = "embedded-model"))]
        None
    }

    /// Reads a model directory.
    ///
    /// ```
    /// use std::path::Path;
    /// use copydesk::model::files::Files;
    ///
    /// let missing = Files::read(Path::new("no/such/model"));
    /// assert_eq!(
    ///     missing.err().map(|e| e.to_string()),
    ///     Some("cannot read no/such/model/config.json".into()),
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Names the file that is missing or unreadable.
    pub fn read(directory: &Path) -> Result<Self, LoadError> {
        let read = |name: &str| {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(source) => Err(LoadError::File { path, source }),
            }
        };
        Ok(Self {
            config: read(Self::NAMES[0])?,
            tokenizer: read(Self::NAMES[1])?,
            weights: read(Self::NAMES[2])?,
        })
    }

    /// The files by name, in the order of [`Files::NAMES`].
    pub fn each(&self) -> [(&'static str, &[u8]); 3] {
        let [config, tokenizer, weights] = Self::NAMES;
        [
            (config, &*self.config),
            (tokenizer, &*self.tokenizer),
            (weights, &*self.weights),
        ]
    }

    /// SHA-256 of the three files in the order of [`Files::NAMES`], in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(&self.each().map(|(_, bytes)| bytes))
    }

    /// How many numbers the weights hold.
    ///
    /// # Errors
    ///
    /// When the weights cannot be read.
    pub fn parameters(&self) -> Result<usize, LoadError> {
        let tensors = SafeTensors::deserialize(&self.weights)?;
        let sizes = tensors.tensors().into_iter();
        Ok(sizes
            .map(|(_, t)| t.shape().iter().product::<usize>())
            .sum())
    }
}

/// SHA-256 of bytes that follow one another, in hexadecimal.
pub fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
