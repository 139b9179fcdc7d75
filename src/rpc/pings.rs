use std::collections::VecDeque;

/// The PINGs that this side has sent. The peer answers them in order, so a count says which of them an answer is for.
#[derive(Debug, Default)]
pub struct Pings {
    sent: u64,
    answered: u64,
    /// The numbers of those that the library sent on its own account and that are not answered, in order.
    own: VecDeque<u64>,
}

impl Pings {
    /// The application has sent one.
    pub fn note_sent(&mut self) {
        self.sent += 1;
    }

    /// The library has sent one on its own account.
    pub fn note_own(&mut self) {
        self.own.push_back(self.sent);
        self.sent += 1;
    }

    /// An answer has come: whether it is for one of the library's own.
    pub fn take_answer(&mut self) -> bool {
        if self.answered == self.sent {
            return false;
        }
        let is_own = self.own.front() == Some(&self.answered);
        if is_own {
            self.own.pop_front();
        }
        self.answered += 1;
        is_own
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
}
