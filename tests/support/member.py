"""A signed-in visitor of the site in tests: `member(app)` gives a browser whose owner has a confirmed account."""

from flask import Flask
from sqlalchemy.orm import Session

from ghibli_flask.database import transaction
from ghibli_flask.extensions import runtime
from ghibli_flask.models.user import UserProfile
from ghibli_flask.services import accounts
from tests.support.visitor import Visitor

EMAIL = "ada@example.org"
PASSWORD = "a window with a view"


class Member(Visitor):
    """A browser that is signed in over HTTP as `user_id`; it kept its guest cookie from before."""

    def __init__(self, app: Flask, user_id: str, email: str, password: str, address: str) -> None:
        super().__init__(app, address)
        self.user_id, self.email, self.password = user_id, email, password
        self.sign_in()

    def sign_in(self) -> None:
        """Sign in, again if need be: the session is a new and fresh one, and so is the token."""
        answer = self.post("/auth/signin", data={"email": self.email, "password": self.password})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.token = self.get("/api/csrf").get_json()["csrfToken"]


def member(app: Flask, email: str = EMAIL, address: str = "192.0.2.1", password: str = PASSWORD) -> Member:
    """A browser signed in to the account of this address, which is made and confirmed when there is none yet."""
    with app.app_context():
        found = accounts.find_by_email_key(accounts.email_key(email))
        user_id = found.user.id if found else confirmed_account(email, password)
    return Member(app, user_id, email, password, address)


def confirmed_account(email: str = EMAIL, password: str = PASSWORD) -> str:
    """Make a confirmed account with a password, within an application context; gives the user's id."""

    def unit(session: Session) -> str:
        user = accounts.create(session, email, accounts.PASSWORD_PROVIDER, "Ada", "en")
        session.get_one(UserProfile, user.id).email_verified_at = runtime().clock.now()
        return user.id

    user_id = transaction(unit)
    accounts.change_password(user_id, "", password, keep_session="")
    return user_id
