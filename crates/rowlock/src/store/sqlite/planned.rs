//! The steps of a plan, with what they run.

use super::session::{Bind, Session, Sql};
use crate::Result;
use crate::store::attach::{AttachStep, Lasting, StepKind, StepLock};
use crate::store::identifier::{Dialect, quote_identifier, quote_literal};

/// A step, and what it runs.
pub(super) struct Planned {
    pub(super) step: AttachStep,
    statements: Vec<(Sql, Vec<Bind>)>,
}

impl Planned {
    pub(super) fn new(
        kind: StepKind,
        lock: StepLock,
        object: String,
        statements: Vec<(Sql, Vec<Bind>)>,
        why: &str,
    ) -> Planned {
        let shown: Vec<String> = statements.iter().map(|(sql, binds)| shown(sql, binds)).collect();
        Planned { step: AttachStep::brief(kind, lock, object, shown.join(";\n"), why), statements }
    }

    /// Both in one transaction.
    pub(super) fn and(mut self, other: Planned) -> Planned {
        self.statements.extend(other.statements);
        self.step.sql = format!("{};\n{}", self.step.sql, other.step.sql);
        self.step.why = format!("{}; {}", self.step.why, other.step.why);
        self.lasting(other.step.lasts)
    }

    pub(super) fn lasting(mut self, lasts: Lasting) -> Planned {
        self.step = self.step.lasting(lasts);
        self
    }

    pub(super) async fn run(&self, session: &mut Session) -> Result<()> {
        for (sql, binds) in &self.statements {
            session.execute(sql, binds.iter().cloned()).await?;
        }
        Ok(())
    }
}

/// A statement with its binds as literals.
fn shown(sql: &Sql, binds: &[Bind]) -> String {
    let mut text = sql.as_str().to_owned();
    for (index, bind) in binds.iter().enumerate().rev() {
        let literal = match bind {
            Bind::Null => "null".to_owned(),
            Bind::Integer(number) => number.to_string(),
            Bind::Text(text) => quote_literal(text, Dialect::Sqlite),
        };
        text = text.replace(&format!("?{}", index + 1), &literal);
    }
    text
}

/// How far a plan looks ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// To its end.
    All,
    /// As far as is needed to know the first step: it does not read the whole table for later ones.
    First,
}

/// What drops an index.
pub(super) fn drop_index(name: &str, why: &str) -> Planned {
    let object = quote_identifier(name);
    let run = vec![(Sql::new(format!("drop index if exists {object}")), Vec::new())];
    Planned::new(StepKind::DropIndex, StepLock::Writers, object, run, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_what_is_bound() {
        let sql = Sql::new("insert into t values (?1, ?2, ?3)".to_owned());
        assert_eq!(shown(&sql, &["it's".into(), 7_i64.into(), Bind::Null]), "insert into t values ('it''s', 7, null)");
    }
}
