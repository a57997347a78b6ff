//! Dimensions by number, so that a record is counted without allocating its labels.

use std::collections::HashMap;
use std::sync::Arc;

use super::dimensions::{Dimensions, Labels};

/// Number of one set of dimensions while at least one cell uses it.
pub(super) type NameId = u32;

/// Each set of dimensions once, counted by use.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Box<[u8]>, NameId>,
    slots: Vec<Option<Slot>>,
    free: Vec<NameId>,
    scratch: Vec<u8>,
}

struct Slot {
    dimensions: Arc<Dimensions>,
    uses: u32,
}

impl Names {
    /// The number of `labels`, when a cell uses them.
    pub(super) fn find(&mut self, labels: Labels<'_>) -> Option<NameId> {
        labels.write_key(&mut self.scratch);
        self.ids.get(self.scratch.as_slice()).copied()
    }

    /// The number of `labels` for one more cell.
    pub(super) fn acquire(&mut self, labels: Labels<'_>) -> NameId {
        if let Some(id) = self.find(labels) {
            if let Some(slot) = self.slots[id as usize].as_mut() {
                slot.uses += 1;
            }
            return id;
        }
        let slot = Slot { dimensions: Arc::new(labels.to_dimensions()), uses: 1 };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Bounded by the number of cells, far below four billion.
            (self.slots.len() - 1) as NameId
        });
        self.slots[id as usize] = Some(slot);
        self.ids.insert(self.scratch.as_slice().into(), id);
        id
    }

    /// One cell less uses `id`; the last one frees it.
    pub(super) fn release(&mut self, id: NameId) {
        let Some(slot) = self.slots[id as usize].as_mut() else { return };
        slot.uses -= 1;
        if slot.uses == 0 {
            slot.dimensions.labels().write_key(&mut self.scratch);
            self.ids.remove(self.scratch.as_slice());
            self.slots[id as usize] = None;
            self.free.push(id);
        }
    }

    pub(super) fn get(&self, id: NameId) -> &Arc<Dimensions> {
        &self.slots[id as usize].as_ref().expect("a cell holds the number, so its slot is in use").dimensions
    }
}
