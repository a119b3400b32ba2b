//! An article's stages one by one and without a queue, as [`super::Classifier`] runs them: to
//! measure each. Answers nothing by itself; whoever calls runs the model.

use std::sync::Arc;

use super::assemble::Assembler;
use super::text::Text;
use crate::answer::{Event, Timings};
use crate::article::{Article, Invalid, Limits};
use crate::encode::{Encoder, TokenizerError, Window};
use crate::model::{Model, SentenceLogits};

/// An article that is checked and cut into sentences.
pub struct Cut {
    text: Arc<Text>,
}

impl Cut {
    /// Checks an article, cuts it, and finds its quotations and the mentions of its named parties.
    ///
    /// # Errors
    ///
    /// [`Invalid`], when the article breaks a rule.
    pub fn new(article: Article, limits: &Limits) -> Result<Self, Invalid> {
        let exact = article.check(limits)?;
        let text = Arc::new(Text::new(article, exact, limits)?);
        Ok(Self { text })
    }

    /// How many sentences it has.
    pub fn sentences(&self) -> usize {
        self.text.sentences().len()
    }

    /// All its windows, tokenised.
    ///
    /// # Errors
    ///
    /// When a text cannot be tokenised.
    pub fn windows(&self, encoder: &Arc<Encoder>) -> Result<Vec<Window>, TokenizerError> {
        let text = &self.text;
        encoder
            .windows(text.headline(), self.sentences(), |index| {
                text.source(index)
            })?
            .collect()
    }

    /// The answer, from what the model said of each window, in order: sentences, then the summary.
    pub fn assemble(&self, model: &Model, answers: Vec<Vec<SentenceLogits>>) -> Vec<Event> {
        let mut assembler = Assembler::new(Arc::clone(&self.text), model, 0.0);
        let mut events: Vec<Event> = answers
            .into_iter()
            .flat_map(|window| assembler.window(window))
            .collect();
        let summary = assembler.summary(Timings::default());
        events.push(Event::Summary(Box::new(summary)));
        events
    }
}
