//! Lists, events and who is told what of them.

mod bed;
mod full_list;
mod side_list;
mod unreadable;
