import time


def test_client(client):
    assert client.get("/health").json == {"status": "ok"}


def test_each(each_database, client):
    assert client.get("/health").status_code == 200


def test_each2(each_database, app):
    from sqlalchemy import text

    from ghibli_flask.database import db

    with app.app_context():
        print(db.engine.url, db.session.execute(text("select count(*) from image_tasks")).scalar())


def test_app_cost(app_factory):
    t = time.time()
    for _ in range(5):
        app_factory()
    print("app", (time.time() - t) / 5)
def test_site(site, page, screenshot_dir):
    page.goto('/'); page.screenshot(path='/tmp/tb/site.png'); print(page.title(), site.url)
