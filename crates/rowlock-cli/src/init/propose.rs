//! From what a table is to a proposal for each line of the description.

use super::carrier::{Carrier, carriers, others};
use super::proposal::{ColumnProposal, ColumnValue, Confidence, Proposal, Proposed, StageProposal, State, Word};
use super::roles::{Roles, roles};
use super::states::{States, states};
use super::{conditions, constraints, flags};
use crate::survey::{Database, Survey, SurveyColumn, TypeKind};

/// The names of the columns that the library adds where no column has the role.
const OWN_COLUMNS: &str = "retry_count reset_count retry_after error_message heartbeat_at claim_token claimed_by \
                           claimed_at resume_status created_at updated_at";

/// The best proposal for a table. Where the survey does not tell, the proposal says so.
pub fn propose(survey: &Survey) -> Proposal {
    propose_for(survey, None)
}

/// The same for the pipeline of one status column, if the table has several.
pub fn propose_for(survey: &Survey, status_column: Option<&str>) -> Proposal {
    let mut carriers = carriers(survey);
    if let Some(at) = carriers.iter().position(|carrier| Some(carrier.column.name.as_str()) == status_column) {
        let chosen = carriers.remove(at);
        carriers.insert(0, chosen);
    }
    let others = others(&carriers);
    let table = survey.table.name().to_owned();
    let mut proposal = Proposal { pipeline: table.clone(), ..Proposal::default() };
    keys(survey, &mut proposal);
    let mut taken = Vec::new();
    let mut has_own_status = false;
    let mut done_word = None;
    let carrier = carriers.first();
    if let Some(carrier) = carrier {
        if let Some(prefix) = carrier.prefix().filter(|_| carriers.len() > 1) {
            proposal.pipeline = format!("{table}_{prefix}");
        }
        let states = states(carrier, survey.database);
        done_word.clone_from(&states.done_word);
        take_states(&mut proposal, states);
        proposal.columns.push(status_column_of(survey, carrier));
        taken.push(carrier.column.name.clone());
        ties(survey, carrier, &mut proposal);
    } else if let Some(flagged) = flags::flagged(survey) {
        take_states(&mut proposal, flagged.states);
        taken.extend(flagged.columns);
    } else {
        own_status(survey, &mut proposal);
        has_own_status = true;
    }
    let Roles { columns, remarks } = roles(survey, carrier, &taken, &others);
    proposal.columns.extend(columns);
    proposal.remarks.extend(remarks);
    taken.extend(proposal.columns.iter().filter_map(|column| Some(column.column.value.as_ref()?.name.clone())));
    proposal.condition = conditions::condition(survey);
    if let Some(carrier) = carrier {
        upstream(carrier, &carriers[1..], &mut proposal);
        proposal.on = conditions::on(survey, carrier, &taken, &others, done_word.as_deref());
    }
    proposal.order = conditions::order(survey);
    proposal.prefix = prefix(survey, &proposal, has_own_status);
    remarks_of_table(survey, &mut proposal);
    other_pipelines(&carriers, &mut proposal);
    proposal
}

fn take_states(proposal: &mut Proposal, states: States) {
    proposal.stages = states.stages;
    proposal.succeeded = states.succeeded;
    proposal.failed = states.failed;
    proposal.cancelled = states.cancelled;
    proposal.ignored = states.ignored;
}

fn keys(survey: &Survey, proposal: &mut Proposal) {
    let is_not_null =
        |key: &&Vec<String>| key.iter().all(|name| survey.column(name).is_some_and(|column| !column.is_nullable));
    let primary = Some(&survey.primary_key).filter(|key| !key.is_empty());
    let unique = survey.unique_keys.iter().filter(is_not_null).min_by_key(|key| key.len());
    let (key, evidence) = match (primary, unique) {
        (Some(key), _) => (key.clone(), "the primary key"),
        (None, Some(key)) => (key.clone(), "a unique key that is never NULL; the table has no primary key"),
        (None, None) => {
            proposal.key = Proposed::default().todo(
                "which column tells one row from all others, and is never NULL? The table has neither a primary key \
                 nor such a unique one: add one",
            );
            return;
        }
    };
    if let [only] = key.as_slice()
        && let Some(column) = survey.column(only)
    {
        proposal.key_type = key_type(survey.database, column);
    }
    let mut proposed = Proposed::new(key.clone(), Confidence::Certain).because(evidence);
    let unusable = |name: &&String| survey.column(name).is_some_and(|column| !is_usable_key(survey.database, column));
    for name in key.iter().filter(unusable) {
        let type_name = survey.column(name).map_or("", |column| column.type_name.as_str());
        proposed = proposed.todo(format!(
            "{name:?} is {type_name}: a key is text, uuid, integer or bigint; name another unique column"
        ));
        proposed.confidence = Confidence::Guess;
    }
    for name in survey.partition_columns.iter().filter(|name| !key.contains(name)) {
        proposed = proposed.todo(format!(
            "the table is partitioned by {name:?}, which is not in the key: no index keeps the key unique over all \
             partitions"
        ));
    }
    proposal.key = proposed;
}

fn key_type(database: Database, column: &SurveyColumn) -> Option<&'static str> {
    match (database, column.kind) {
        (_, TypeKind::Uuid) => Some("uuid"),
        (Database::Postgres, TypeKind::Integer) => Some("int"),
        (Database::Postgres, TypeKind::BigInt) => Some("bigint"),
        (Database::Sqlite, kind) if kind.is_integer() => Some("bigint"),
        _ => None,
    }
}

fn is_usable_key(database: Database, column: &SurveyColumn) -> bool {
    match database {
        Database::Postgres => matches!(
            column.kind,
            TypeKind::Text | TypeKind::Varchar(_) | TypeKind::Uuid | TypeKind::Integer | TypeKind::BigInt
        ),
        Database::Sqlite => {
            let kind = column.kind;
            kind.is_text() || kind.is_integer() || matches!(kind, TypeKind::Uuid | TypeKind::Other)
        }
    }
}

fn status_column_of(survey: &Survey, carrier: &Carrier<'_>) -> ColumnProposal {
    let column = carrier.column;
    let form = match (survey.database, column.kind) {
        (_, TypeKind::Enum) => Some("enum"),
        (_, kind) if kind.is_integer() => Some("integer"),
        (Database::Postgres, TypeKind::Char(_)) => Some("char"),
        _ => None,
    };
    let value = ColumnValue { name: column.name.clone(), form, ..ColumnValue::default() };
    let nullable = if column.is_nullable { "may be NULL" } else { "not null" };
    let mut proposed = Proposed::new(value, Confidence::Likely).because(format!("{}, {nullable}", column.type_name));
    if let Some(list) = &carrier.list {
        proposed = proposed.because(format!("{list} lists its words"));
    }
    ColumnProposal { role: "status", column: proposed }
}

/// CHECKs over several columns, which a status may break that is written alone.
fn ties(survey: &Survey, carrier: &Carrier<'_>, proposal: &mut Proposal) {
    for check in constraints::tying(survey, &carrier.column.name) {
        let others: Vec<&str> =
            check.columns.iter().filter(|name| **name != carrier.column.name).map(String::as_str).collect();
        proposal.remarks.push(format!(
            "TODO: the constraint {} ties {:?} to {}: {}. Write those columns at the same moves, in [on], or the \
             database refuses them",
            check.name,
            carrier.column.name,
            others.join(", "),
            check.definition
        ));
    }
}

/// A table that has no state yet: Rowlock adds one.
fn own_status(survey: &Survey, proposal: &mut Proposal) {
    let word = |word: &str| {
        Proposed::new(State::Words(vec![Word::Text(word.to_owned())]), Confidence::Certain)
            .because("no column of the table says a state: Rowlock adds one, with its own words")
    };
    let plain = |word: &str| Proposed::new(State::Words(vec![Word::Text(word.to_owned())]), Confidence::Certain);
    proposal.succeeded = word("SUCCEEDED");
    proposal.failed = plain("FAILED");
    proposal.cancelled = plain("CANCELLED");
    let (ready, running) = (plain("PENDING"), plain("IN_PROGRESS"));
    proposal.stages = vec![StageProposal { name: "process".to_owned(), ready, running }];
    if survey.rows_estimate != 0 || !survey.rows_are_exact {
        let rows = match (survey.rows_estimate, survey.rows_are_exact) {
            (rows, true) => format!("{rows} rows"),
            (-1, false) => "rows, as far as is known".to_owned(),
            (rows, false) => format!("about {rows} rows"),
        };
        proposal.existing =
            Proposed::new("ready".to_owned(), Confidence::Guess).because(format!("the table has {rows}")).todo(
                "what are they? \"ready\" does the work for each of them, \"succeeded\" says that it is done, \
                 \"cancelled\" that it never will be",
            );
    }
}

/// The status columns of other pipelines, which may have to be done first.
fn upstream(carrier: &Carrier<'_>, others: &[Carrier<'_>], proposal: &mut Proposal) {
    for other in others {
        let states = states(other, Database::Postgres);
        let Some(done) = states.done_word else { continue };
        let name = super::sql::identifier(&other.column.name);
        proposal.condition.todo.push(format!(
            "if the work of {:?} begins only after that of {:?}: {name} = '{}'",
            carrier.column.name,
            other.column.name,
            done.replace('\'', "''")
        ));
    }
}

/// Whether names that the library would give to its own columns are those of the table's already.
fn prefix(survey: &Survey, proposal: &Proposal, has_own_status: bool) -> Proposed<String> {
    let is_mapped =
        |role: &str| proposal.columns.iter().any(|column| column.role == role && column.column.is_written());
    let own = OWN_COLUMNS.split_ascii_whitespace().chain(has_own_status.then_some("status"));
    let colliding: Vec<&str> = own.filter(|role| !is_mapped(role) && survey.column(role).is_some()).collect();
    if colliding.is_empty() {
        return Proposed::default();
    }
    Proposed::new("rowlock_".to_owned(), Confidence::Certain).because(format!(
        "the table uses {} otherwise than Rowlock would: the columns that it adds are named rowlock_…",
        colliding.join(", ")
    ))
}

fn remarks_of_table(survey: &Survey, proposal: &mut Proposal) {
    let security = &survey.row_security;
    if security.applies_to_me {
        proposal.remarks.push(
            "TODO: row security hides rows from this role: give the role of the workers a policy for all rows, or \
             bypassrls"
                .to_owned(),
        );
    } else if security.enabled {
        proposal.remarks.push(
            "row security is on, and this role sees all rows: a worker with another role may see none".to_owned(),
        );
    }
    for column in &survey.partition_columns {
        let is_column = |value: &ColumnValue| value.name == *column;
        let mut roles = proposal.columns.iter().filter(|role| role.column.value.as_ref().is_some_and(is_column));
        if roles.any(|role| role.role == "status") {
            proposal.remarks.push(format!(
                "TODO: the table is partitioned by its status {column:?}: each move would go from one partition to \
                 another; partition it by its key"
            ));
        }
    }
    if survey.is_published && survey.replica_identity == "nothing" {
        proposal.remarks.push(
            "TODO: a publication publishes its updates, and it has no replica identity: the server refuses each update"
                .to_owned(),
        );
    }
}

fn other_pipelines(carriers: &[Carrier<'_>], proposal: &mut Proposal) {
    let [first, others @ ..] = carriers else { return };
    if others.is_empty() {
        return;
    }
    let names: Vec<String> = others.iter().map(|carrier| format!("{:?}", carrier.column.name)).collect();
    proposal.remarks.push(format!(
        "The table has several columns that say states: this file describes {:?}. {} may be pipelines of their own: \
         describe each in a file of its own, with its own pipeline name and prefix, and name it by --file",
        first.column.name,
        names.join(", ")
    ));
}
