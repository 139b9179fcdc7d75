use std::collections::VecDeque;
use std::ops::Range;

/// The PINGs that this side has sent. The peer answers them in order, so a count says which of them an answer is for.
#[derive(Debug, Default)]
pub struct Pings {
    sent: u64,
    answered: u64,
    /// The numbers of those that the library sent on its own account and that are not answered, in order; those that follow one
    /// another together, so that a peer that answers none costs no memory.
    own: VecDeque<Range<u64>>,
}

impl Pings {
    /// The application has sent one.
    pub fn note_sent(&mut self) {
        self.sent += 1;
    }

    /// The library has sent one on its own account.
    pub fn note_own(&mut self) {
        let number = self.sent;
        self.sent += 1;
        match self.own.back_mut() {
            Some(last) if last.end == number => last.end = self.sent,
            _ => self.own.push_back(number..self.sent),
        }
    }

    /// An answer has come: whether it is for one of the library's own.
    pub fn take_answer(&mut self) -> bool {
        if self.answered == self.sent {
            return false;
        }
        let number = self.answered;
        self.answered += 1;
        let Some(first) = self.own.front_mut().filter(|first| first.start == number) else { return false };
        first.start = self.answered;
        if first.is_empty() {
            self.own.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_belong_to_pings_in_their_order() {
        let mut pings = Pings::default();
        assert!(!pings.take_answer(), "nothing was asked");
        pings.note_own();
        pings.note_sent();
        pings.note_own();
        assert_eq!([(); 4].map(|()| pings.take_answer()), [true, false, true, false]);
        pings.note_sent();
        pings.note_own();
        assert_eq!([(); 3].map(|()| pings.take_answer()), [false, true, false]);
    }

    #[test]
    fn unanswered_pings_of_the_librarys_own_take_no_memory() {
        let mut pings = Pings::default();
        (0..1000).for_each(|_| pings.note_own());
        assert_eq!(pings.own.len(), 1);
        pings.note_sent();
        assert!((0..1000).all(|_| pings.take_answer()));
        assert!(!pings.take_answer() && pings.own.is_empty());
    }
}
