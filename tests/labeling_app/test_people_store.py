"""Accounts, invitations, sessions and throttles in a real database of each kind."""

import threading
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from team import PASSWORD, begin, kept, person

from rlhf.feedback import invitations, passwords, people, sessions, throttling
from rlhf.feedback.audit import Entry
from rlhf.feedback.schema import accounts, audit, labelers, throttles
from rlhf.feedback.schema import invitations as invitation_table
from rlhf.feedback.schema import sessions as session_table
from rlhf.feedback.signing_in import TooManyAttemptsError, sign_in
from rlhf.feedback.store import Store

NOW = 1_700_000_000.0
DAY = 86_400.0


def _sign_in(store: Store, login: str, password: str, moment: float, address: str = "::1") -> str:
    return sign_in(
        store.database, login, password, address=address, browser="test", moment=moment
    ).secret


def _bearer(store: Store, secret: str, moment: float) -> sessions.Bearer | None:
    with store.database.reading() as db:
        return sessions.bearer_of(db, sessions.digest_of(secret), moment)


def test_the_table_holds_an_argon2_hash_and_digests_never_a_secret(store: Store) -> None:
    ada = person(store, "ada@example.org")
    secret = _sign_in(store, "Ada@Example.org ", PASSWORD, NOW)
    with store.database.writing() as db:
        link = invitations.invite(db, "labeler", None, by=ada, moment=NOW)
        row = db.execute(select(accounts)).one()
        session = db.execute(select(session_table)).one()
        invited = db.execute(select(invitation_table)).one()
        logged = db.execute(select(audit.c.actor, audit.c.subject)).all()
    assert row.password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PasswordHasher().verify(row.password_hash, PASSWORD)
    assert session.token_digest == sessions.digest_of(secret) != secret
    assert invited.token_digest == sessions.digest_of(link) != link
    assert "ada@" not in str(logged)
    assert row.login == "ada@example.org"
    assert row.labeler_id == ada
    assert ada.startswith("labeler-")
    assert len(ada) == len("labeler-") + 8


def test_an_old_hash_is_renewed_at_the_next_sign_in(store: Store) -> None:
    person(store, "ada")
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with store.database.writing() as db:
        db.execute(accounts.update().values(password_hash=weak))
    _sign_in(store, "ada", PASSWORD, NOW)
    with store.database.reading() as db:
        renewed = db.execute(select(accounts.c.password_hash)).scalar_one()
    assert renewed != weak
    assert not passwords.is_outdated(renewed)
    assert passwords.is_password(renewed, PASSWORD)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short one", "10 to 200 characters, this one has 9"),
        ("x" * 201, "this one has 201"),
        ("Password123", "among the first"),
        ("aaaaaaaaaaab", "among the first"),
        ("ada.lovelace@example.org", "is the login"),
        ("Ada.Lovelace", "is the login"),
    ],
)
def test_poor_passwords_are_refused(password: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        passwords.check_password(password, "ada.lovelace@example.org")


def test_good_passwords_are_taken() -> None:
    for password in (PASSWORD, "0123456789a", "ünïcödé wörds", "x" * 197 + "abc"):
        assert passwords.check_password(password, "ada") == password
    assert all(len(one) >= passwords.SHORTEST for one in passwords.COMMON)


@pytest.mark.parametrize(
    "login", ["", "ab", "a b c", "a\nb\nc", "x" * 101, "labeler-00ff00ff", "a\u200bbc"]
)
def test_logins_that_cannot_be_told_apart_are_refused(login: str) -> None:
    with pytest.raises(ValueError, match="login"):
        people.checked_login(login)


@given(st.text(max_size=120))
def test_a_login_has_one_form(text: str) -> None:
    try:
        kept_form = people.checked_login(text)
    except ValueError:
        return
    assert people.checked_login(kept_form) == kept_form
    assert people.checked_login(f" {text.swapcase()} ".swapcase()) == kept_form


def test_a_login_is_had_by_one(store: Store) -> None:
    person(store, "ada")
    with pytest.raises(ValueError, match="taken"):
        person(store, "ada")
    with store.database.reading() as db:
        assert len(people.all_accounts(db)) == 1


def test_a_session_slides_and_ends_fourteen_days_after_its_last_use(store: Store) -> None:
    secret = begin(store, person(store, "ada"), NOW)
    assert _bearer(store, secret, NOW + 13.9 * DAY) is not None
    assert _bearer(store, secret, NOW + 14 * DAY) is None
    found = _bearer(store, secret, NOW + 13 * DAY)
    assert found is not None
    with store.database.writing() as db:
        sessions.note_use(db, found, NOW + 13 * DAY)
    assert _bearer(store, secret, NOW + 26.9 * DAY) is not None
    assert _bearer(store, secret, NOW + 27 * DAY) is None


def test_a_token_does_not_slide(store: Store) -> None:
    token = begin(store, person(store, "ada"), NOW, "token", 90 * DAY)
    found = _bearer(store, token, NOW + 89 * DAY)
    assert found is not None
    with store.database.writing() as db:
        sessions.note_use(db, found, NOW + 89 * DAY)
    assert _bearer(store, token, NOW + 90 * DAY) is None


def _close(store: Store, ada: str) -> None:
    with store.database.writing() as db:
        people.change_account(db, ada, role=None, active=False, by="x", moment=NOW)


def _new_password(store: Store, ada: str) -> None:
    with store.database.writing() as db:
        people.change_password(db, ada, kept(), by=ada, moment=NOW)


def _withdraw(store: Store, ada: str) -> None:
    with store.database.writing() as db:
        db.execute(labelers.update().where(labelers.c.id == ada).values(withdrawn_at="2026"))


@pytest.mark.parametrize("end", [_close, _new_password, _withdraw])
def test_everything_ends_with_the_account_or_its_password(
    store: Store, end: Callable[[Store, str], None]
) -> None:
    ada, bo = person(store, "ada"), person(store, "bobby")
    mine = [begin(store, ada, NOW), begin(store, ada, NOW, "token")]
    others = begin(store, bo, NOW)
    end(store, ada)
    assert [_bearer(store, secret, NOW) for secret in mine] == [None, None]
    assert _bearer(store, others, NOW) is not None


@pytest.mark.parametrize("end", [_close, _withdraw])
def test_who_is_gone_cannot_sign_in(store: Store, end: Callable[[Store, str], None]) -> None:
    end(store, person(store, "ada"))
    with pytest.raises(ValueError, match="the login or the password is wrong"):
        _sign_in(store, "ada", PASSWORD, NOW)


def test_an_invitation_makes_one_member_once(store: Store) -> None:
    campaign = store.create_campaign("closed", settings={"members_only": True})
    with store.database.writing() as db:
        secret = invitations.invite(db, "reviewer", "closed", by="x", moment=NOW)
    with store.database.reading() as db:
        offered = invitations.invitation_of(db, secret, NOW + 6.9 * DAY)
        assert (offered.role, offered.campaign) == ("reviewer", "closed")
        with pytest.raises(ValueError, match="used, over or withdrawn"):
            invitations.invitation_of(db, secret, NOW + 7 * DAY)
    with store.database.writing() as db:
        ada = invitations.accept(db, secret, "ada", kept(), NOW)
    assert store.may_work(campaign, ada)
    with store.database.reading() as db:
        assert people.account(db, ada).role == "reviewer"
    with pytest.raises(ValueError, match="used"), store.database.writing() as db:
        invitations.accept(db, secret, "bobby", kept(), NOW)
    with store.database.reading() as db:
        assert [one.login for one in people.all_accounts(db)] == ["ada"]


def test_a_login_that_is_taken_leaves_the_invitation_good(store: Store) -> None:
    person(store, "ada")
    with store.database.writing() as db:
        secret = invitations.invite(db, "labeler", None, by="x", moment=NOW)
    with pytest.raises(ValueError, match="taken"), store.database.writing() as db:
        invitations.accept(db, secret, "ada", kept(), NOW)
    with store.database.writing() as db:
        assert invitations.accept(db, secret, "bobby", kept(), NOW)


def test_of_many_who_accept_at_once_one_gets_in(store: Store) -> None:
    with store.database.writing() as db:
        secret = invitations.invite(db, "labeler", None, by="x", moment=NOW)
    won, lost = [], []
    barrier = threading.Barrier(8)

    def accept(number: int) -> None:
        barrier.wait()
        try:
            with store.database.writing() as db:
                won.append(invitations.accept(db, secret, f"person{number}", "hash", NOW))
        except ValueError as error:
            lost.append(str(error))

    _together(accept, 8)
    assert (len(won), len(lost)) == (1, 7)
    with store.database.reading() as db:
        assert [one.labeler_id for one in people.all_accounts(db)] == won


def test_an_invitation_can_be_withdrawn(store: Store) -> None:
    with store.database.writing() as db:
        secret = invitations.invite(db, "labeler", None, by="x", moment=NOW)
        (listed,) = invitations.open_invitations(db, NOW)
        assert secret not in str(listed)
        assert invitations.withdraw_invitation(db, listed.id, by="x", moment=NOW)
        assert not invitations.withdraw_invitation(db, listed.id, by="x", moment=NOW)
    with pytest.raises(ValueError, match="withdrawn"), store.database.reading() as db:
        invitations.invitation_of(db, secret, NOW)


def test_the_first_admin_link_is_there_until_there_is_an_admin(store: Store) -> None:
    with store.database.writing() as db:
        lost, secret = (invitations.invite_first_admin(db, NOW) for _ in range(2))
    assert lost is not None
    assert secret is not None
    with store.database.writing() as db:
        with pytest.raises(ValueError, match="ask for a new one"):
            invitations.invitation_of(db, lost, NOW)
        with pytest.raises(ValueError, match="over"):
            invitations.invitation_of(db, secret, NOW + 3600)
        ada = invitations.accept(db, secret, "ada", kept(), NOW)
        assert people.account(db, ada).role == "admin"
        assert invitations.invite_first_admin(db, NOW) is None


def test_the_last_admin_stays_whoever_races_whom(store: Store) -> None:
    two = [person(store, "ada", "admin"), person(store, "bobby", "admin")]
    barrier, refused = threading.Barrier(2), []

    def step_down(number: int) -> None:
        barrier.wait()
        try:
            with store.database.writing() as db:
                people.change_account(
                    db, two[number], role="labeler", active=None, by="x", moment=NOW
                )
        except ValueError as error:
            refused.append(str(error))

    _together(step_down, 2)
    assert refused == ["this is the only active admin: make another one first"]
    with store.database.reading() as db:
        assert people.has_admin(db)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 0), (4, 0), (5, 1), (6, 2), (9, 16), (14, 512), (15, 900), (99, 900)],
)
def test_the_wait_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: float) -> None:
    assert throttling.block_seconds(failures, 5) == seconds


def _attempts(store: Store, login: str, address: str, moment: float) -> float:
    keys = (throttling.login_key(login), throttling.address_key(address))
    with store.database.writing() as db:
        return throttling.attempt(db, keys, moment)


def test_guessing_one_login_is_slowed_down_for_every_address(store: Store) -> None:
    waits = [_attempts(store, "ada", f"10.0.0.{n}", NOW) for n in range(6)]
    assert waits == [0, 0, 0, 0, 0, 1.0]
    with Store(store.address) as restarted:
        assert _attempts(restarted, "ada", "10.0.1.1", NOW + 0.5) == pytest.approx(0.5, abs=1e-3)
        assert _attempts(restarted, "ada", "10.0.1.1", NOW + 1) == 0
        assert _attempts(restarted, "ada", "10.0.1.2", NOW + 1) == pytest.approx(2, abs=1e-3)
    assert _attempts(store, "bobby", "10.0.1.9", NOW) == 0
    with store.database.reading() as db:
        assert "ada" not in str(db.execute(select(throttles)).all())


def test_trying_many_logins_from_one_network_is_slowed_down(store: Store) -> None:
    waits = [_attempts(store, f"login{n}", f"2001:db8::{n:x}", NOW) for n in range(101)]
    assert waits == [0] * 100 + [1.0]
    assert _attempts(store, "login99", "2001:db8:0:1::1", NOW) == 0  # another network


def test_a_success_forgets_the_login_but_not_the_others_of_its_address(store: Store) -> None:
    person(store, "ada")
    for number in range(99):
        _attempts(store, f"victim{number}", "10.0.0.1", NOW)
    _sign_in(store, "ada", PASSWORD, NOW, "10.0.0.1")
    assert [_attempts(store, f"x{n}", "10.0.0.1", NOW) for n in range(2)] == [0, 1.0]
    assert [_attempts(store, "ada", "10.9.9.9", NOW) for _ in range(4)] == [0, 0, 0, 0]


def test_counts_are_forgotten_after_a_quiet_day(store: Store) -> None:
    for number in range(6):
        _attempts(store, "ada", f"10.0.0.{number}", NOW)
    assert _attempts(store, "ada", "10.0.0.1", NOW + DAY + 2) == 0
    with store.database.reading() as db:
        assert {row.failures for row in db.execute(select(throttles)).all()} == {1}


def test_many_guesses_at_once_are_counted_each(store: Store) -> None:
    barrier, waits = threading.Barrier(16), []

    def guess(number: int) -> None:
        barrier.wait()
        waits.append(_attempts(store, "ada", f"10.0.0.{number}", NOW))

    _together(guess, 16)
    assert sum(wait == 0 for wait in waits) == 5


def test_a_blocked_login_is_refused_even_with_its_password(store: Store) -> None:
    person(store, "ada")
    for _ in range(5):
        with pytest.raises(ValueError, match="is wrong"):
            _sign_in(store, "ada", "something else", NOW)
    with pytest.raises(TooManyAttemptsError, match="try again in 1 s"):
        _sign_in(store, "ada", PASSWORD, NOW)
    assert _sign_in(store, "ada", PASSWORD, NOW + 1)


def test_people_in_the_log_are_pseudonyms(store: Store) -> None:
    ada = person(store, "ada@example.org")
    with store.database.reading() as db:
        rows = db.execute(select(audit.c.actor, audit.c.action, audit.c.subject)).all()
    assert [Entry(*row) for row in rows] == [Entry(ada, "account made", f"{ada} labeler")]


def _together(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
