//! Legacy sessions: an id that any replica with the same key can check, bound to its caller. Nothing is kept for
//! an open session; only ended ones are remembered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::sync::Notify;

use crate::policy::Principal;
use crate::relay::Admitted;

/// Bytes of the id, and of the proof that follows it.
const PART: usize = 16;

/// Sessions and the calls that run in them.
pub struct Sessions {
    key: [u8; 32],
    /// Ended sessions that are remembered; older ones would pass again, for the same caller only.
    most: usize,
    ended: Mutex<(HashSet<String>, VecDeque<String>)>,
    running: Mutex<HashMap<CallKey, Running>>,
}

/// A call as its client knows it: the session and the id of the request.
type CallKey = (String, Vec<u8>);

/// A call that a client may cancel.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) admitted: Arc<Admitted>,
    pub(super) cancel: Arc<Notify>,
}

impl Sessions {
    /// `key` must stay secret and the same for all replicas and across restarts.
    pub fn new(key: [u8; 32], most: usize) -> Self {
        Self { key, most, ended: Mutex::default(), running: Mutex::default() }
    }

    /// A new session of `principal`: visible ASCII, 128 random bits and as many of proof.
    pub(super) fn open(&self, principal: &Principal) -> String {
        let id = *uuid::Uuid::new_v4().as_bytes();
        let mut token = [0; 2 * PART];
        token[..PART].copy_from_slice(&id);
        token[PART..].copy_from_slice(&self.proof(&id, principal)[..PART]);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Whether `token` is an open session of `principal`. Another's session is as unknown as none.
    pub(super) fn is_open(&self, token: &str, principal: &Principal) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Ok(bytes) = <[u8; 2 * PART]>::try_from(bytes) else { return false };
        // `decode` takes one spelling only, so an altered token cannot stand for the same bytes.
        let (id, proof) = bytes.split_at(PART);
        let right = subtle::ConstantTimeEq::ct_eq(proof, &self.proof(id, principal)[..PART]);
        bool::from(right) && !lock(&self.ended).0.contains(token)
    }

    /// Ends a session.
    pub(super) fn end(&self, token: &str) {
        let mut guard = lock(&self.ended);
        let (tokens, order) = &mut *guard;
        if tokens.insert(token.to_owned()) {
            order.push_back(token.to_owned());
        }
        if order.len() > self.most
            && let Some(oldest) = order.pop_front()
        {
            tokens.remove(&oldest);
        }
    }

    /// Notes that a call runs, for as long as the guard lives.
    pub(super) fn run(self: &Arc<Self>, token: &str, id: &[u8], running: Running) -> Guard {
        let key = (token.to_owned(), id.to_vec());
        lock(&self.running).insert(key.clone(), running);
        Guard { sessions: Arc::clone(self), key }
    }

    /// The call that a client wants to cancel, if it still runs.
    pub(super) fn running(&self, token: &str, id: &[u8]) -> Option<Running> {
        lock(&self.running).get(&(token.to_owned(), id.to_vec())).cloned()
    }

    fn proof(&self, id: &[u8], principal: &Principal) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(id);
        mac.update(principal.id().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets the call when dropped.
pub(in crate::exchange) struct Guard {
    sessions: Arc<Sessions>,
    key: CallKey,
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.sessions.running).remove(&self.key);
    }
}
