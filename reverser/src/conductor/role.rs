//! When the conductor begins to work, and when it ends.

use super::{Conductor, Running};

impl Conductor {
    /// Begins to work once this process leads: everything is compared with Git, as at a start.
    pub(super) async fn take_role(&mut self) {
        let role = self.edges.roles.borrow_and_update().clone();
        if self.leads || !role.leads() {
            return;
        }
        let workers = self.workers.clone();
        // It has no bugs that would end it, and if so, the clones stay.
        let _ = tokio::task::spawn_blocking(move || workers.begin(&role)).await;
        self.leads = true;
        if self.plan.destinations.is_empty() {
            return;
        }
        self.workers.apply(&self.plan);
        self.tell_watches();
        self.sweep_unselected();
    }

    pub(super) async fn close_watches(&mut self) {
        let running = std::mem::take(&mut self.running);
        for Running { task, .. } in running.into_values() {
            task.abort();
            // Aborted, or it had ended.
            let _ = task.await;
        }
    }
}
