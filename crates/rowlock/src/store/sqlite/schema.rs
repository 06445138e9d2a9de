//! What the table needs: `prepare` makes it, `inspect` says what is lacking.

use std::collections::{HashMap, HashSet};

use super::session::{Session, Sql, Verb};
use super::{SqliteStore, indexes, rows};
use crate::pipeline::{KeyType, Role};
use crate::schema::{SCHEMA_VERSION, must_take_null};
use crate::store::identifier::quote_identifier;
use crate::{Error, Result};

/// What a file has.
#[derive(Debug, Default)]
struct Found {
    /// Of the pipeline's table, by name in lower case; none if there is no such table.
    columns: HashMap<String, Column>,
    /// Columns of it that are unique by themselves, in lower case.
    unique: HashSet<String>,
    /// Whether the table's name is that of a view.
    is_view: bool,
    own_tables: HashSet<String>,
    indexes: HashSet<String>,
}

#[derive(Debug)]
struct Column {
    not_null: bool,
    affinity: Option<Affinity>,
}

/// What a column makes of the values that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    /// By the declared type, as SQLite decides it (<https://www.sqlite.org/datatype3.html>); none without one.
    fn of(declared: &str) -> Option<Affinity> {
        let declared = declared.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if declared.is_empty() {
            None
        } else if has(&["INT"]) {
            Some(Affinity::Integer)
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Some(Affinity::Text)
        } else if has(&["BLOB"]) {
            Some(Affinity::Blob)
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Some(Affinity::Real)
        } else {
            Some(Affinity::Numeric)
        }
    }

    /// Whether keys of this type can be stored as they are.
    fn keeps(self, key_type: KeyType) -> bool {
        match key_type {
            KeyType::Text | KeyType::Uuid => matches!(self, Affinity::Text | Affinity::Numeric),
            KeyType::Int | KeyType::BigInt => matches!(self, Affinity::Integer | Affinity::Numeric),
        }
    }
}

impl SqliteStore {
    /// In one transaction: whoever prepares at the same time waits, and then finds it done.
    pub(super) async fn prepare_schema(&self, verb: &Verb) -> Result<()> {
        let mut session = self.write(verb).await?;
        self.check_version(&mut session).await?;
        let found = self.read_schema(&mut session).await?;
        if found.is_view {
            return Err(self.schema_error("it is a view: a queue needs a table"));
        }
        let statements = &self.statements;
        for sql in [
            &statements.create_failures,
            &statements.create_failures_index,
            &statements.create_stages,
            &statements.create_meta,
        ] {
            session.execute(sql, []).await?;
        }
        session.execute(&statements.write_version, [SCHEMA_VERSION.to_string().into()]).await?;
        if found.columns.is_empty() {
            session.execute(&statements.create_table, []).await?;
        } else {
            self.add_columns(&mut session, &found).await?;
            let completed = self.read_schema(&mut session).await?;
            if let Some(problem) = self.column_problems(&completed).into_iter().next() {
                return Err(self.schema_error(&problem));
            }
        }
        for outdated in found.indexes.iter().filter(|index| indexes::is_outdated(&self.pipeline, index)) {
            session.execute(&Sql::new(format!("drop index {}", quote_identifier(outdated))), []).await?;
        }
        for sql in [&statements.create_ready_index, &statements.create_running_index, &statements.create_stopped_index]
        {
            session.execute(sql, []).await?;
        }
        session.commit().await
    }

    async fn add_columns(&self, session: &mut Session, found: &Found) -> Result<()> {
        for role in Role::ALL {
            if !found.has_column(self.pipeline.columns().name(role)) {
                session.execute(self.statements.add_column(role), []).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn inspect_schema(&self, verb: &Verb) -> Result<Vec<String>> {
        let mut session = self.read_session(verb).await?;
        session.run("BEGIN").await?;
        let version = self.check_version(&mut session).await;
        let found = self.read_schema(&mut session).await?;
        let strange = self.strange_keys(&mut session, &found).await?;
        session.roll_back().await?;
        version?;
        let mut lacking = self.lacking(&found);
        lacking.extend(strange);
        Ok(lacking)
    }

    /// Rows whose key is not of the pipeline's type. They do not keep the others from being worked on.
    async fn strange_keys(&self, session: &mut Session, found: &Found) -> Result<Option<String>> {
        let key = self.pipeline.key();
        if !found.has_column(key) || !found.has_column(self.pipeline.columns().name(Role::Status)) {
            return Ok(None);
        }
        let rows = session.rows(&self.statements.read_strange_key, []).await?;
        let sentence = |type_name: String| {
            format!(
                "a row's key ({key:?}) is of the type {type_name}, but the pipeline says {:?}: such rows are left \
                 alone; give them keys of that type",
                self.pipeline.key_type()
            )
        };
        Ok(rows.first().and_then(|row| rows::text(row, 0)).map(sentence))
    }

    fn lacking(&self, found: &Found) -> Vec<String> {
        let table = self.pipeline.table().name();
        let mut lacking = Vec::new();
        if found.is_view {
            return vec![format!("{table:?} is a view: a queue needs a table")];
        }
        if found.columns.is_empty() {
            lacking.push(format!("there is no table {table:?}"));
        } else {
            lacking.extend(self.column_problems(found));
            for kind in indexes::KINDS {
                let name = indexes::name(&self.pipeline, kind);
                if !found.indexes.contains(&name) {
                    lacking.push(format!("table {table:?} lacks the index {name:?}"));
                }
            }
        }
        for own in ["rowlock_failures", "rowlock_stages", "rowlock_meta"] {
            if !found.own_tables.contains(own) {
                lacking.push(format!("there is no table {own:?}"));
            }
        }
        lacking
    }

    /// Why the columns cannot be used, in sentences.
    fn column_problems(&self, found: &Found) -> Vec<String> {
        let mut problems = Vec::new();
        let (key, key_type) = (self.pipeline.key(), self.pipeline.key_type());
        if let Some(affinity) = found.columns.get(&key.to_ascii_lowercase()).and_then(|column| column.affinity)
            && !affinity.keeps(key_type)
        {
            problems.push(format!(
                "the key column {key:?} holds {affinity:?} values, but the pipeline says {key_type:?}: give the \
                 pipeline the key's type"
            ));
        }
        if !found.has_column(key) {
            problems.push(format!("there is no key column {key:?}: name the one that it has"));
        } else if !found.unique.contains(&key.to_ascii_lowercase()) {
            problems.push(format!("the key column {key:?} is not unique by itself: add a unique index"));
        }
        for role in Role::ALL {
            let name = self.pipeline.columns().name(role);
            match found.columns.get(&name.to_ascii_lowercase()) {
                None => problems.push(format!("there is no column {name:?} ({role:?}): run prepare")),
                Some(column) if column.not_null && must_take_null(role) => problems.push(format!(
                    "the column {name:?} ({role:?}) is not null, but moves set it to null: drop the constraint, or \
                     map the role to another column"
                )),
                Some(_) => {}
            }
        }
        problems
    }

    async fn read_schema(&self, session: &mut Session) -> Result<Found> {
        let table = self.pipeline.table().name();
        let mut found = Found::default();
        let mut primary_key = Vec::new();
        for row in session.rows(&self.statements.read_columns, [table.into()]).await? {
            let name = rows::text(&row, 0).unwrap_or_default().to_ascii_lowercase();
            if rows::integer(&row, 2).unwrap_or(0) > 0 {
                primary_key.push(name.clone());
            }
            let declared = rows::text(&row, 3).unwrap_or_default();
            let column = Column { not_null: rows::integer(&row, 1) == Some(1), affinity: Affinity::of(&declared) };
            found.columns.insert(name, column);
        }
        // An integer primary key has no index.
        if let [key] = &primary_key[..] {
            found.unique.insert(key.clone());
        }
        for row in session.rows(&self.statements.read_unique_columns, [table.into()]).await? {
            found.unique.extend(rows::text(&row, 0).map(|name| name.to_ascii_lowercase()));
        }
        for row in session.rows(&self.statements.read_objects, [table.into()]).await? {
            let (Some(kind), Some(name)) = (rows::text(&row, 0), rows::text(&row, 1)) else { continue };
            match kind.as_str() {
                "index" => found.indexes.insert(name),
                "view" => {
                    found.is_view |= name.eq_ignore_ascii_case(table);
                    false
                }
                _ => found.own_tables.insert(name),
            };
        }
        Ok(found)
    }

    /// Refuses a file that was prepared by a newer Rowlock.
    pub(super) async fn check_version(&self, session: &mut Session) -> Result<()> {
        let objects = session.rows(&self.statements.read_objects, ["".into()]).await?;
        if !objects.iter().any(|row| rows::text(row, 1).as_deref() == Some("rowlock_meta")) {
            return Ok(());
        }
        let version = session.rows(&self.statements.read_version, []).await?;
        match version.first().and_then(|row| rows::integer(row, 0)) {
            Some(version) if version > SCHEMA_VERSION.into() => {
                Err(Error::SchemaTooNew { found: i32::try_from(version).unwrap_or(i32::MAX), known: SCHEMA_VERSION })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn schema_error(&self, problem: &str) -> Error {
        Error::Schema { table: self.pipeline.table().to_string(), problem: problem.to_owned() }
    }
}

impl Found {
    fn has_column(&self, name: &str) -> bool {
        self.columns.contains_key(&name.to_ascii_lowercase())
    }
}
