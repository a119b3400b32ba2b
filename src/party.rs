//! Names in text: [`Matcher`] finds the parties that a caller named, [`Groups`] puts together the
//! mentions that the model found, [`Named`] tells which named party a speaker is,
//! [`tidy`] repairs the ends of a found name. Never takes back what
//! it said: a mention stays with the party it was given to.

mod groups;
mod matcher;
mod tidy;
mod words;

pub use self::groups::{Group, Groups, Named};
pub use self::matcher::{Matcher, Mention};
pub use self::tidy::tidy;

#[cfg(test)]
mod tests;
