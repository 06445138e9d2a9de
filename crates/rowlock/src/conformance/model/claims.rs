//! Which of the model's items a claim may take.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::Model;
use crate::conformance::scene::RawItem;
use crate::pipeline::{Move, StageId, Status};
use crate::store::{ClaimParams, Limits};
use crate::{Key, Lease};

/// An item's place in the queue: the latest stage first, then the item that has been ready longest.
type Place = (std::cmp::Reverse<StageId>, Option<DateTime<Utc>>);

/// The items that a claim took.
pub(in crate::conformance) struct Taken<'a> {
    pub(in crate::conformance) claimed: &'a [Lease],
    pub(in crate::conformance) exhausted: &'a [Key],
    pub(in crate::conformance) may_have_more: bool,
    pub(in crate::conformance) suspect_at_head: bool,
}

impl Taken<'_> {
    fn keys(&self) -> BTreeSet<&str> {
        self.claimed.iter().map(|lease| &lease.key).chain(self.exhausted).map(Key::as_str).collect()
    }
}

/// Checks each item that was taken, and the order of those that were claimed.
fn check_taken(claiming: &ClaimParams, queue: &[(Place, &RawItem)], taken: &Taken<'_>) -> Result<(), String> {
    let find = |key: &Key| queue.iter().find(|(_, item)| item.key == key.as_str());
    let mut last = None;
    for lease in taken.claimed {
        let (place, item) = find(&lease.key).ok_or_else(|| format!("{} could not be claimed", lease.key))?;
        if Model::is_exhausted(item, claiming.limits) {
            return Err(format!("{} is exhausted", lease.key));
        }
        if lease.stage != place.0.0 || lease.token != claiming.token {
            return Err(format!("{lease:?} is not what was claimed"));
        }
        if last > Some(*place) {
            return Err(format!("{} is out of order", lease.key));
        }
        last = Some(*place);
    }
    for key in taken.exhausted {
        let (_, item) = find(key).ok_or_else(|| format!("{key} could not be exhausted"))?;
        if !Model::is_exhausted(item, claiming.limits) {
            return Err(format!("{key} is at no limit"));
        }
    }
    Ok(())
}

impl Model {
    fn place(&self, item: &RawItem) -> Option<Place> {
        match self.status_of(item) {
            Some(Status::Ready(stage)) => Some((std::cmp::Reverse(stage), item.retry_after.or(item.created_at))),
            _ => None,
        }
    }

    fn is_exhausted(item: &RawItem, limits: Limits) -> bool {
        item.retry_count >= Some(i64::from(limits.max_retries))
            || item.reset_count >= Some(i64::from(limits.max_resets))
    }

    fn is_suspect(item: &RawItem, limits: Limits) -> bool {
        let resets = item.reset_count.unwrap_or(0);
        resets >= 1 && resets == i64::from(limits.max_resets) - 1 && !Model::is_exhausted(item, limits)
    }

    /// The items that a claim may take, in the order of the queue.
    fn queue(&self, claiming: &ClaimParams, now: DateTime<Utc>) -> Vec<(Place, &RawItem)> {
        let mut queue: Vec<(Place, &RawItem)> = self
            .items
            .values()
            .filter(|item| !claiming.except.contains(&Key::from(item.key.as_str())))
            .filter(|item| !(claiming.leave_exhausted && Model::is_exhausted(item, claiming.limits)))
            .filter_map(|item| self.place(item).map(|place| (place, item)))
            .filter(|(place, _)| claiming.stages.contains(&place.0.0) && !self.paused.contains(&place.0.0))
            .filter(|(place, _)| place.1.is_none_or(|since| since <= now))
            .collect();
        queue.sort_by_key(|(place, _)| *place);
        queue
    }

    /// Checks that a claim took only what it may, and follows it.
    pub(in crate::conformance) fn claim(
        &mut self,
        claiming: &ClaimParams,
        now: DateTime<Utc>,
        taken: &Taken<'_>,
    ) -> Result<(), String> {
        self.check_claim(claiming, now, taken)?;
        for key in taken.exhausted {
            let item = self.item(key.as_str()).clone();
            let Some(Status::Ready(stage)) = self.status_of(&item) else { unreachable!("checked") };
            let limit = if item.retry_count >= Some(i64::from(claiming.limits.max_retries)) {
                format!("Max retries ({}) exceeded", claiming.limits.max_retries)
            } else {
                format!("Max resets ({}) exceeded", claiming.limits.max_resets)
            };
            let error = match &item.error {
                Some(before) => format!("{limit}: {before}"),
                None => limit,
            };
            self.fail(key.as_str(), stage, error, now);
            self.item(key.as_str()).token = None;
            self.unsaid.insert(key.as_str().to_owned());
        }
        for lease in taken.claimed {
            let from = self.status(lease.key.as_str()).expect("checked");
            let to = self.pipeline.after(from, Move::Claim).expect("checked");
            self.put(lease.key.as_str(), to, now);
            let item = self.item(lease.key.as_str());
            item.token = Some(claiming.token.as_i64());
            item.holder = Some(claiming.holder.as_str().to_owned());
            item.heartbeat = Some(now);
            item.claimed_at = Some(now);
        }
        Ok(())
    }

    fn check_claim(&self, claiming: &ClaimParams, now: DateTime<Utc>, taken: &Taken<'_>) -> Result<(), String> {
        let limit = claiming.limit;
        let limits = claiming.limits;
        let queue = self.queue(claiming, now);
        check_taken(claiming, &queue, taken)?;
        let keys = taken.keys();
        if keys.len() != taken.claimed.len() + taken.exhausted.len() {
            return Err("something was taken twice".to_owned());
        }
        if keys.len() > limit {
            return Err(format!("{} were taken of {limit}", keys.len()));
        }
        let is_suspect = |item: &RawItem| Model::is_suspect(item, limits);
        let suspects = queue.iter().filter(|(_, item)| is_suspect(item)).count();
        let head = queue.iter().find(|(_, item)| !Model::is_exhausted(item, limits)).map(|(place, _)| *place);
        let suspect_taken = queue.iter().find(|(_, item)| is_suspect(item) && keys.contains(item.key.as_str()));
        let may_be_empty = limit == 0 || queue.is_empty() || (!claiming.alone && suspects > 0);
        if let Some((place, _)) = suspect_taken {
            if !claiming.alone || taken.claimed.len() != 1 || Some(*place) != head {
                return Err("a suspect was not at the head, or not alone".to_owned());
            }
        } else if keys.is_empty() && !may_be_empty {
            return Err("nothing was taken of a queue that is not empty".to_owned());
        } else if keys.len() < limit.min(queue.len() - suspects).saturating_sub(suspects) {
            return Err(format!("only {} were taken of {}", keys.len(), queue.len()));
        }
        let suspect_may_be_at_head = queue.iter().any(|(place, item)| Some(*place) == head && is_suspect(item));
        if taken.suspect_at_head && (claiming.alone || !suspect_may_be_at_head) {
            return Err("it is said that a suspect is at the head and was left out".to_owned());
        }
        // No item that is left was ahead of one that was taken.
        let is_taken = |item: &RawItem| keys.contains(item.key.as_str());
        let last = queue.iter().filter(|(_, item)| is_taken(item)).map(|(place, _)| *place).max();
        for (place, item) in queue.iter().filter(|(_, item)| !is_taken(item)) {
            let may_be_left = is_suspect(item) || (suspect_taken.is_some() && !Model::is_exhausted(item, limits));
            if !may_be_left && Some(*place) < last {
                return Err(format!("{:?} was passed over", item.key));
            }
        }
        let left = queue.len() - keys.len();
        if left > 0 && limit > 0 && !taken.may_have_more {
            return Err(format!("{left} are left, but it is said that there are none"));
        }
        if left == 0 && keys.len() < limit && taken.may_have_more {
            return Err("nothing is left, but it is said that there may be".to_owned());
        }
        Ok(())
    }
}
