"""What a presented refresh token means: the table, and a phone that asks twice."""

from dataclasses import replace
from datetime import timedelta

import pytest

from devpocket.auth.rotation import RefreshDecision, decide_refresh
from devpocket.auth.tokens import Tokens, TokenType
from devpocket.domain.users import Session
from devpocket.errors import UnauthenticatedError
from devpocket.ids import UserId
from tests.auth.clocks import START, SetClock
from tests.auth.test_tokens import KEY, OLD_KEY, SESSION, SETTINGS, USER


class Family:
    """A session and the tokens it has seen, newest last."""

    def __init__(self, keys=(KEY,)):
        self.clock = SetClock()
        self.tokens = Tokens(replace(SETTINGS, keys=keys), self.clock)
        pair = self.tokens.issue(USER, SESSION)
        self.refresh_tokens = [pair.refresh_token]
        self.session = Session(SESSION, USER.id, pair.refresh_hash, START, START, pair.refresh_expires_at)

    def claims(self, index):
        return self.tokens.verify(self.refresh_tokens[index], TokenType.REFRESH)

    def decide(self, index, session=...):
        claims = self.claims(index)
        given = self.session if session is ... else session
        return decide_refresh(given, claims, self.tokens.successor_hashes(claims), self.clock.now())

    def rotate(self):
        pair = self.tokens.rotate(USER, self.claims(-1))
        self.refresh_tokens.append(pair.refresh_token)
        self.session = self.session.rotated(pair.refresh_hash, self.clock.now(), pair.refresh_expires_at)
        return pair


@pytest.mark.parametrize(
    ("rotations", "presented", "seconds_later", "decision"),
    [
        (0, 0, 0, RefreshDecision.ROTATE),
        (0, 0, 86400, RefreshDecision.ROTATE),
        (1, 1, 0, RefreshDecision.ROTATE),
        (1, 1, 86400, RefreshDecision.ROTATE),
        (1, 0, 0, RefreshDecision.REPEAT),
        (1, 0, 10, RefreshDecision.REPEAT),
        (1, 0, 10.001, RefreshDecision.END),
        (1, 0, 86400, RefreshDecision.END),
        (2, 2, 0, RefreshDecision.ROTATE),
        (2, 1, 0, RefreshDecision.REPEAT),
        (2, 1, 11, RefreshDecision.END),
        (2, 0, 0, RefreshDecision.END),
        (2, 0, 86400, RefreshDecision.END),
    ],
)
def test_the_table(rotations, presented, seconds_later, decision):
    family = Family()
    for _ in range(rotations):
        family.rotate()
    family.clock.advance(seconds_later)
    assert family.decide(presented) is decision


def test_a_session_that_is_gone_over_or_somebody_elses_is_refused_and_nothing_more():
    family = Family()
    assert family.decide(0, session=None) is RefreshDecision.REFUSE
    assert family.decide(0, session=replace(family.session, user_id=UserId("x" * 24))) is RefreshDecision.REFUSE
    over = replace(family.session, expires_at=family.clock.now())
    assert family.decide(0, session=over) is RefreshDecision.REFUSE


def test_a_token_of_this_session_that_was_never_in_its_chain_ends_it():
    family, stranger = Family(), Family()
    family.refresh_tokens.append(stranger.refresh_tokens[0])
    assert family.decide(-1) is RefreshDecision.END


def test_two_answers_to_one_token_carry_the_same_successor_and_it_works():
    family = Family()
    presented = family.claims(0)
    first = family.rotate()
    family.clock.advance(3)
    assert family.decide(0) is RefreshDecision.REPEAT
    second = family.tokens.repeat(USER, presented, family.session)
    assert second.refresh_token == first.refresh_token
    assert second.refresh_hash == family.session.token_hash
    assert second.access_token != first.access_token
    family.refresh_tokens.append(second.refresh_token)
    family.clock.advance(3600)
    assert family.decide(-1) is RefreshDecision.ROTATE


def test_a_repeat_is_possible_across_a_change_of_the_signing_key():
    family = Family(keys=(OLD_KEY,))
    presented = family.claims(0)
    first = family.rotate()
    family.tokens = Tokens(replace(SETTINGS, keys=(KEY, OLD_KEY)), family.clock)
    assert family.decide(0) is RefreshDecision.REPEAT
    assert family.tokens.repeat(USER, presented, family.session).refresh_hash == first.refresh_hash


def test_nothing_is_repeated_for_a_token_that_is_not_the_one_before():
    family = Family()
    oldest = family.claims(0)
    family.rotate()
    family.rotate()
    with pytest.raises(UnauthenticatedError):
        family.tokens.repeat(USER, oldest, family.session)


def test_each_rotation_renews_the_end_of_the_session():
    family = Family()
    family.clock.advance(86400)
    family.rotate()
    assert family.session.expires_at == START + timedelta(days=8)
    assert family.claims(-1).expires_at == family.session.expires_at
