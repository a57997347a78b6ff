//! How many connections there may be: in all, and from one peer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::edge::metrics::Cut;

/// Counts connections and refuses those over a limit.
#[derive(Debug)]
pub(super) struct Gate {
    all: AtomicUsize,
    all_max: usize,
    /// Held for a look-up only, twice a connection.
    peers: Mutex<HashMap<IpAddr, usize>>,
    peer_max: usize,
}

/// The right to one connection; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Ticket {
    gate: Arc<Gate>,
    peer: IpAddr,
}

impl Gate {
    pub(super) fn new(all_max: usize, peer_max: usize) -> Self {
        Self { all: AtomicUsize::new(0), all_max, peers: Mutex::default(), peer_max }
    }

    /// Lets a connection from `address` in, or says which limit is reached.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Ticket, Cut> {
        let peer = peer(address);
        if self.all.fetch_add(1, Ordering::Relaxed) >= self.all_max {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Cut::Connections);
        }
        let mut peers = self.peers();
        let count = peers.entry(peer).or_insert(0);
        if *count >= self.peer_max {
            self.all.fetch_sub(1, Ordering::Relaxed);
            return Err(Cut::Address);
        }
        *count += 1;
        drop(peers);
        Ok(Ticket { gate: Arc::clone(self), peer })
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Counts stay right whatever panicked beside them.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.all.fetch_sub(1, Ordering::Relaxed);
        let mut peers = self.gate.peers();
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// Who `address` is: an IPv4 address however it is written, or a whole IPv6 network of /64, which is what
/// one customer has.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_tickets_come_back() {
        let gate = Arc::new(Gate::new(3, 2));
        let enter = |text: &str| gate.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), Cut::Address);
        let third = enter("2001:db8::1").unwrap();
        assert_eq!(enter("2001:db8:1::1").unwrap_err(), Cut::Connections);
        drop(first);
        let _fourth = enter("2001:db8::ffff").unwrap();
        drop(second);
        assert_eq!(enter("2001:db8::2").unwrap_err(), Cut::Address);
        drop(third);
        enter("2001:db8::2").unwrap();
        assert_eq!(gate.peers().len(), 1);
    }
}
