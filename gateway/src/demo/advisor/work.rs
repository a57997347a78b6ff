//! What the advisor does with a question.
//!
//! Token counting, so that tests and price tables have something to count: a token is a word, that
//! is, a run of characters without white space. Input tokens are the words of the question and of
//! the text of every tool's answer, output tokens the words of the final answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::gateway::{CallError, Gateway, ToolAnswer};
use super::model::{Artifact, Message, Part, State};
use super::tasks::Entry;
use crate::demo::money::{CURRENCY, show_cents, show_ounces};
use crate::message::Trace;

/// The model that the advisor says it is; it is a handful of rules.
pub(crate) const MODEL: &str = "advisor-1";
/// Longest time for one question.
const WORK_LIMIT: Duration = Duration::from_secs(90);
/// How a question that asks for slowness is drawn out.
const SLOW_STEPS: u32 = 8;
const SLOW_STEP: Duration = Duration::from_millis(250);

const HELP: &str = "I know the profit of your gold holding. Ask me: What is my profit?";

/// A question and how it was put.
pub(crate) struct Question {
    text: String,
    slowly: bool,
}

impl Question {
    /// Reads the question from a message; none when it has no text.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let text = message.text()?;
        let slowly = mentions(&text, "slowly")
            || message.metadata.as_ref().is_some_and(|metadata| metadata["slowly"] == true);
        Some(Self { text, slowly })
    }
}

fn mentions(text: &str, word: &str) -> bool {
    text.to_lowercase().contains(word)
}

#[derive(Default)]
struct Usage {
    input: usize,
    output: usize,
}

impl Usage {
    fn hear(&mut self, text: &str) {
        self.input += words(text);
    }

    /// The usage by OpenTelemetry's names for generative AI.
    fn say(&self) -> Value {
        json!({
            "gen_ai.request.model": MODEL,
            "gen_ai.response.model": MODEL,
            "gen_ai.usage.input_tokens": self.input,
            "gen_ai.usage.output_tokens": self.output,
        })
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// What the advisor has to say in the end.
struct Advice {
    text: String,
    data: Option<Value>,
}

/// A call that failed, and which one it was.
#[derive(Debug, thiserror::Error)]
#[error("The call of `{tool}` failed: {}.", chain(error))]
struct CallFailed {
    tool: &'static str,
    error: CallError,
}

/// An error and all its causes, without saying one thing twice.
fn chain(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Works on a task until it is over. May be aborted at any await.
pub(crate) async fn work(gateway: Arc<Gateway>, entry: Arc<Entry>, question: Question, trace: Trace) {
    // Whatever happens in here, no task stays open for ever.
    let open = OpenTask(entry);
    let mut usage = Usage::default();
    usage.hear(&question.text);
    let outcome =
        tokio::time::timeout(WORK_LIMIT, answer(&gateway, &open.0, &question, &trace, &mut usage)).await;
    match outcome {
        Ok(Ok(advice)) => {
            usage.output += words(&advice.text);
            let mut parts = vec![Part::text(&advice.text)];
            parts.extend(advice.data.map(Part::data));
            open.0.add_artifact(Artifact { id: uuid::Uuid::new_v4().to_string(), name: "answer", parts });
            open.0.report(State::Completed, &advice.text, Some(usage.say()));
        }
        Ok(Err(failed)) => {
            tracing::warn!(tool = failed.tool, reason = %chain(&failed.error), "a tool call failed");
            let text = failed.to_string();
            usage.output += words(&text);
            open.0.report(State::Failed, &text, Some(usage.say()));
        }
        Err(_) => {
            let text = format!("The answer took longer than {WORK_LIMIT:?}.");
            open.0.report(State::Failed, &text, Some(usage.say()));
        }
    }
}

struct OpenTask(Arc<Entry>);

impl Drop for OpenTask {
    /// Has no effect on a task that is over.
    fn drop(&mut self) {
        self.0.report(State::Failed, "The advisor stopped working on this.", None);
    }
}

async fn answer(
    gateway: &Gateway,
    entry: &Entry,
    question: &Question,
    trace: &Trace,
    usage: &mut Usage,
) -> Result<Advice, CallFailed> {
    entry.report(State::Working, "Reading your question.", None);
    if question.slowly {
        for step in 1..=SLOW_STEPS {
            tokio::time::sleep(SLOW_STEP).await;
            entry.report(State::Working, &format!("Thinking, step {step} of {SLOW_STEPS}."), None);
        }
    }
    if mentions(&question.text, "profit") {
        Session { gateway, trace, usage }.profit(entry).await
    } else {
        Ok(Advice { text: HELP.to_owned(), data: None })
    }
}

/// The advisor's use of its tools for one question.
struct Session<'a> {
    gateway: &'a Gateway,
    trace: &'a Trace,
    usage: &'a mut Usage,
}

impl Session<'_> {
    async fn profit(mut self, entry: &Entry) -> Result<Advice, CallFailed> {
        const PRICE: &str = "gold_price__price_now";
        const HOLDINGS: &str = "ledger__holdings";
        const PROFIT: &str = "profit_clac__profit";
        let say = |text: String| entry.report(State::Working, &text, None);
        let number =
            |tool, answer: &ToolAnswer, name| answer.number(name).map_err(|error| CallFailed { tool, error });

        say("Looking up the price of gold.".to_owned());
        let price = self.call(PRICE, json!({})).await?;
        let price_cents = number(PRICE, &price, "price_cents")?;

        say(format!("Gold is at {} an ounce. Looking up what you hold.", show_cents(price_cents)));
        let holdings = self.call(HOLDINGS, json!({})).await?;
        let milli_ounces = number(HOLDINGS, &holdings, "milli_ounces")?;
        let cost_cents = number(HOLDINGS, &holdings, "cost_cents")?;

        let (weight, cost) = (show_ounces(milli_ounces), show_cents(cost_cents));
        say(format!("You hold {weight} that cost {cost}. Computing the profit."));
        let arguments =
            json!({"milli_ounces": milli_ounces, "cost_cents": cost_cents, "price_cents": price_cents});
        let profit = self.call(PROFIT, arguments).await?;
        let value_cents = number(PROFIT, &profit, "value_cents")?;
        let profit_cents = number(PROFIT, &profit, "profit_cents")?;
        let percent = profit.member("percent");
        let rate = percent.as_f64().map_or_else(String::new, |percent| format!(" ({percent:.2} %)"));
        Ok(Advice {
            text: format!(
                "Your profit is {}{rate}: {weight} that cost {cost} are worth {}.",
                show_cents(profit_cents),
                show_cents(value_cents)
            ),
            data: Some(json!({
                "milli_ounces": milli_ounces,
                "cost_cents": cost_cents,
                "price_cents": price_cents,
                "value_cents": value_cents,
                "profit_cents": profit_cents,
                "percent": percent,
                "currency": CURRENCY,
            })),
        })
    }

    async fn call(&mut self, tool: &'static str, arguments: Value) -> Result<ToolAnswer, CallFailed> {
        let outcome = self.gateway.call(tool, arguments, self.trace).await;
        let answer = outcome.map_err(|error| CallFailed { tool, error })?;
        self.usage.hear(&answer.text);
        Ok(answer)
    }
}
