//! Operators' verbs on the model's items.

use chrono::{DateTime, Utc};

use super::Model;
use crate::Key;
use crate::pipeline::{Move, StageId, Status};
use crate::store::{Moved, RequeueParams, SetParams};

impl Model {
    fn operate(&mut self, key: &Key, step: impl FnOnce(&mut Model, &str, Status) -> Moved) -> Moved {
        let Some(item) = self.items.get(key.as_str()) else { return Moved::NotFound };
        let word = item.status.clone().unwrap_or_default();
        match self.status_of(item) {
            Some(status) => step(self, key.as_str(), status),
            None => Moved::Illegal { from: word },
        }
    }

    pub(in crate::conformance) fn set(&mut self, setting: &SetParams, now: DateTime<Utc>) -> Vec<Moved> {
        setting
            .keys
            .iter()
            .map(|key| self.operate(key, |model, key, from| model.set_one(key, from, setting, now)))
            .collect()
    }

    fn set_one(&mut self, key: &str, from: Status, setting: &SetParams, now: DateTime<Utc>) -> Moved {
        let to = self.pipeline.after(from, Move::Set(setting.to)).expect("only legal states are set");
        let resume = from.stage().map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned());
        self.put(key, to, now);
        let item = self.item(key);
        item.token = None;
        item.retry_after = None;
        if let Some(error) = &setting.error {
            item.error = Some(error.clone());
        } else if to == Status::Succeeded {
            item.error = None;
        }
        match to {
            Status::Ready(_) => item.resume = None,
            Status::Failed | Status::Cancelled => item.resume = resume.or(item.resume.take()),
            Status::Succeeded | Status::InProgress(_) => {}
        }
        if to == Status::Succeeded {
            self.unsaid.insert(key.to_owned());
        }
        let item = self.item(key);
        if from.is_terminal() && to.is_ready() {
            item.retry_count = Some(0);
            item.reset_count = Some(0);
        }
        Moved::Applied { to }
    }

    pub(in crate::conformance) fn cancel(&mut self, keys: &[Key], now: DateTime<Utc>) -> Vec<Moved> {
        keys.iter().map(|key| self.operate(key, |model, key, from| model.cancel_one(key, from, now))).collect()
    }

    fn cancel_one(&mut self, key: &str, from: Status, now: DateTime<Utc>) -> Moved {
        let Ok(to) = self.pipeline.after(from, Move::Cancel) else {
            return Moved::Illegal { from: self.pipeline.word(from).to_owned() };
        };
        let resume = from.stage().map(|stage| self.pipeline.word(Status::Ready(stage)).to_owned());
        self.put(key, to, now);
        let item = self.item(key);
        item.token = None;
        item.retry_after = None;
        item.resume = resume;
        Moved::Applied { to }
    }

    pub(in crate::conformance) fn requeue(&mut self, requeueing: &RequeueParams, now: DateTime<Utc>) -> Vec<Moved> {
        let stage = requeueing.stage;
        requeueing
            .keys
            .iter()
            .map(|key| self.operate(key, |model, key, from| model.requeue_one(key, from, stage, now)))
            .collect()
    }

    fn requeue_one(&mut self, key: &str, from: Status, stage: Option<StageId>, now: DateTime<Utc>) -> Moved {
        let resume = self.item(key).resume.clone().and_then(|word| self.pipeline.status(&word));
        let stopped_at = match (from, resume) {
            (Status::Failed | Status::Cancelled, Some(Status::Ready(stage))) => stage,
            _ => StageId::FIRST,
        };
        let Ok(to) = self.pipeline.after(from, Move::Requeue(stage.unwrap_or(stopped_at))) else {
            return Moved::Illegal { from: self.pipeline.word(from).to_owned() };
        };
        self.put(key, to, now);
        let item = self.item(key);
        item.retry_count = Some(0);
        item.reset_count = Some(0);
        item.retry_after = None;
        item.resume = None;
        item.token = None;
        Moved::Applied { to }
    }
}
