//! Handing requests to workers, and what comes back.

use std::time::Instant;

use bytes::Bytes;

use crate::envelope::{CHUNK_MIN, Head, Order, Status, ToWorker};

use super::directory::WorkerNo;
use super::request::{FAILED_ALONE, Promise, Request, State};
use super::{Client, Failure, News, Pool, QUARANTINE_MAX, Source, Ticket, differences};

/// A worker's death weighs on each of its requests by this part at least.
const COMPANY: u32 = 4;

impl<C: Client> Pool<C> {
    /// Hands queued requests to free workers for as long as there are both.
    pub(super) fn dispatch(&mut self, now: Instant) {
        while let Some(&ticket) = self.queue.front() {
            let Some(request) = self.requests.get_mut(&ticket) else {
                self.queue.pop_front();
                continue;
            };
            let Some(no) = self.workers.next_free(request.avoid) else { return };
            self.queue.pop_front();
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            let (order, credit) = request.assign(id, no, self.limits.window, now);
            request.worker = Some(self.workers.name(no));
            self.workers.take_slot(no, id);
            self.attempts.insert(id, (no, Some(ticket)));
            self.send(no, ToWorker::Request(id, order, credit));
        }
    }

    /// Nobody waits for this attempt any more. Its slot is free again when the worker says so.
    pub(super) fn abandon(&mut self, id: u64, no: WorkerNo) {
        if let Some((_, ticket)) = self.attempts.get_mut(&id) {
            *ticket = None;
            self.send(no, ToWorker::Cancel(id));
        }
    }

    /// The worker is rid of this attempt.
    fn close(&mut self, id: u64, no: WorkerNo) {
        self.attempts.remove(&id);
        self.workers.free_slot(no, id);
    }

    /// The last octet of the answer is on its way to the client.
    fn complete(&mut self, ticket: Ticket, id: u64, no: WorkerNo, now: Instant) {
        if let Some(request) = self.requests.remove(&ticket) {
            self.workers.did(no, now.saturating_duration_since(request.began));
        }
        self.close(id, no);
        self.answered();
    }

    /// Another worker gets the request, if it has tries left.
    pub(super) fn retry(&mut self, ticket: Ticket, failure: Failure, now: Instant) {
        self.retry_after(ticket, failure, FAILED_ALONE, now);
    }

    /// The same after a try that weighs so much.
    fn retry_after(&mut self, ticket: Ticket, failure: Failure, guilt: u32, now: Instant) {
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        request.guilt += guilt;
        request.kept_waiting |= matches!(failure, Failure::TooSlow);
        if request.guilt >= self.limits.tries * FAILED_ALONE {
            return self.fail(ticket, failure);
        }
        if let State::InHand { worker, .. } = request.state {
            request.avoid = Some(worker);
            self.workers.failed(worker);
        }
        request.credit = 0;
        request.state = State::Queued { since: now };
        self.queue.push_front(ticket);
    }

    /// The request ends here.
    pub(super) fn fail(&mut self, ticket: Ticket, failure: Failure) {
        if let Some(mut request) = self.requests.remove(&ticket) {
            let Request { tries, worker, queued, .. } = &request;
            let last = worker.clone().map(|worker| Source { worker, tries: *tries, queued: *queued });
            request.client.fail(failure, last);
            self.answered();
        }
    }

    /// A request is over: if it was the last, a pool that is stopping lets its workers go.
    fn answered(&mut self) {
        if self.stopping && self.requests.is_empty() {
            self.stop_workers();
        }
    }

    /// A worker is gone: everything it had in hand goes to others.
    pub(super) fn lose(&mut self, no: WorkerNo, why: &str, now: Instant) {
        self.lose_by(no, why, Failure::Broken, now);
    }

    /// The same, and how it looks to its requests.
    pub(super) fn lose_by(&mut self, no: WorkerNo, why: &str, failure: Failure, now: Instant) {
        let Some((worker, ids)) = self.workers.remove(no) else { return };
        self.news.push_back(News::Left { worker, why: why.to_owned(), in_hand: ids.len() });
        // One of many requests in hand is hardly why the worker died. Otherwise a few deaths in a row would end every
        // request of a busy server. One that does kill its workers does so again and again, and is found out.
        let guilt = FAILED_ALONE / u32::try_from(ids.len()).unwrap_or(u32::MAX).clamp(1, COMPANY);
        for id in ids {
            let Some((_, Some(ticket))) = self.attempts.remove(&id) else { continue };
            self.blame(ticket, guilt, now);
            self.retry_after(ticket, failure, guilt, now);
        }
        self.dispatch(now);
    }

    /// A worker died with this request in hand. One that has now lost every worker it may have before the
    /// first sign of an answer is under suspicion of killing them.
    fn blame(&mut self, ticket: Ticket, guilt: u32, now: Instant) {
        let Some(request) = self.requests.get(&ticket) else { return };
        let lost_all = request.guilt + guilt >= self.limits.tries * FAILED_ALONE && request.promise.is_none();
        if lost_all && self.quarantine.len() < QUARANTINE_MAX {
            self.quarantine.insert(request.order.path.clone(), now + self.limits.quarantine);
        }
    }

    /// Whose attempt this is. Late answers are for nobody; the answer of a stranger is an offence.
    fn attempt(&mut self, no: WorkerNo, id: u64, now: Instant) -> Option<Option<Ticket>> {
        let &(holder, ticket) = self.attempts.get(&id)?;
        if holder != no {
            self.offence(no, "an answer to another worker's request", now);
            return None;
        }
        Some(ticket)
    }

    fn offence(&mut self, no: WorkerNo, what: &str, now: Instant) {
        if let Some(identity) = self.workers.identity(no).cloned() {
            self.misbehaved(&identity, what, now);
        }
    }

    pub(super) fn head(&mut self, no: WorkerNo, id: u64, head: Head, content: Bytes, now: Instant) {
        let Some(Some(ticket)) = self.attempt(no, id, now) else { return };
        if head.status == Status::Failed {
            tracing::warn!(worker = %self.workers.name(no), reason = head.kind, "a worker could not read a file");
            self.close(id, no);
            return self.retry(ticket, Failure::Broken, now);
        }
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        if let Err(what) = check(&head, &content, request.credit, &request.order, request.promise.as_ref()) {
            return self.offence(no, what, now);
        }
        request.progress(now);
        // Which coding is sent depends on the client, so only plain files can be compared.
        let comparable = head.coding.is_none() && matches!(head.status, Status::File | Status::NotFound);
        if comparable && request.promise.is_none() && request.order.version.is_none() {
            let there = (head.status == Status::File).then_some(head.version);
            if let Some(other) = self.differences.saw(&request.order.path, no, there, now) {
                let path = request.order.path.escape_ascii().to_string();
                let workers = differences::pair(self.workers.name(no), self.workers.name(other));
                self.news.push_back(News::Differ { path, workers });
            }
        }
        let length = content.len() as u64;
        let whole = head.length == length;
        request.credit -= length;
        request.unread += length;
        if let Some(promise) = &mut request.promise {
            if head.status != Status::File {
                // The rest of the file that the client has begun to receive does not exist any more.
                self.close(id, no);
                return self.fail(ticket, Failure::Changed);
            }
            promise.next += length;
            if length > 0 {
                request.client.chunk(content);
            }
        } else {
            let next = head.offset.saturating_add(length);
            let end = head.offset.saturating_add(head.length);
            request.promise = Some(Promise { version: head.version, coding: head.coding, next, end });
            let worker = request.worker.clone().unwrap_or_else(|| "?".into());
            let source = Source { worker, tries: request.tries, queued: request.queued };
            request.client.head(head, source, content);
        }
        if length > 0 {
            request.goes_on();
        }
        self.workers.sent(no, length);
        if whole {
            self.complete(ticket, id, no, now);
        } else {
            self.consumed(ticket, 0, now); // the first credit may have been too small to go on with
        }
    }

    pub(super) fn chunk(&mut self, no: WorkerNo, id: u64, content: Bytes, now: Instant) {
        let Some(Some(ticket)) = self.attempt(no, id, now) else { return };
        let Some(request) = self.requests.get_mut(&ticket) else { return };
        let length = content.len() as u64;
        let Some(promise) = &mut request.promise else {
            return self.offence(no, "content before the head", now);
        };
        let left = promise.end - promise.next;
        if length > request.credit || length > left {
            return self.offence(no, "more content than was granted", now);
        }
        if length < left.min(CHUNK_MIN as u64) {
            return self.offence(no, "content in too small pieces", now);
        }
        promise.next += length;
        let last = promise.next == promise.end;
        request.credit -= length;
        request.unread += length;
        request.goes_on();
        request.progress(now);
        request.client.chunk(content);
        self.workers.sent(no, length);
        if last {
            self.complete(ticket, id, no, now);
        }
    }

    pub(super) fn end(&mut self, no: WorkerNo, id: u64, reason: &str, now: Instant) {
        let Some(ticket) = self.attempt(no, id, now) else { return };
        self.close(id, no);
        if let Some(ticket) = ticket {
            tracing::warn!(worker = %self.workers.name(no), reason, "a worker broke an answer off");
            self.retry(ticket, Failure::Broken, now);
        }
    }
}

/// Does the answer fit the order?
fn check(
    head: &Head,
    content: &Bytes,
    credit: u64,
    order: &Order,
    promise: Option<&Promise>,
) -> Result<(), &'static str> {
    let length = content.len() as u64;
    if length > head.length || length > credit {
        return Err("more content than was granted");
    }
    if head.status != Status::File {
        return if head.length == 0 { Ok(()) } else { Err("content without a file") };
    }
    let (offset, wanted, version) = match promise {
        Some(promise) => (promise.next, Some(promise.end - promise.next), Some(promise.version)),
        None => (order.offset, order.length, order.version),
    };
    if version.is_some_and(|version| version != head.version) {
        return Err("another version than the one asked for");
    }
    if promise.is_some_and(|promise| promise.coding != head.coding) {
        return Err("another coding than the one begun with");
    }
    if head.coding.is_some_and(|coding| !order.accepts.has(coding)) {
        return Err("a coding that the client does not take");
    }
    let there = head.version.size.saturating_sub(offset);
    let expected = if order.head_only { 0 } else { wanted.unwrap_or(u64::MAX).min(there) };
    if head.offset != offset || head.length != expected {
        return Err("another part of the file than the one asked for");
    }
    Ok(())
}
