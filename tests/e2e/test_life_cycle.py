"""What can be asked of an environment, what survives it, and what is told meanwhile."""

import pytest

from tests.e2e.conftest import Phones
from tests.phone import parsers
from tests.phone.client import Phone, Refused


async def test_the_progress_of_a_creation_is_told_as_it_happens(phone: Phone):
    environment_id = (await phone.create(template="slow"))["id"]
    async with phone.logs(environment_id) as logs:
        assert (await logs.wait_for("welcome")) == logs.messages[0]
        complete = await logs.wait_for("installation_complete")
        assert (complete["environment_id"], complete["status"]) == (environment_id, "running")
        text = "".join(message["data"] for message in logs.messages if message["type"] == "installation_log")
        assert [f"step {number} of 6" in text for number in range(1, 7)] == [True] * 6
        told_before = [message["type"] for message in logs.messages].index("installation_complete")
        assert "installation_log" in [message["type"] for message in logs.messages[:told_before]]
        assert "installation_status" in [message["type"] for message in logs.messages[:told_before]]
        await logs.send(type="ping")
        await logs.wait_for("pong")
    assert (await phone.environment(environment_id))["status"] == "running"


async def test_the_log_is_there_afterwards_whole_and_in_order(phone: Phone):
    environment_id = (await phone.create(template="slow"))["id"]
    await phone.until(environment_id, "running")
    logs = await phone.fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS)
    text = "\n".join(logs["logs"])
    places = [text.find(f"step {number} of 6") for number in range(1, 7)]
    assert -1 not in places
    assert places == sorted(places)
    assert logs["has_more"] is False
    few = await phone.fetch("GET", f"/environments/{environment_id}/logs?lines=2", parsers.LOGS)
    assert few["logs"] == logs["logs"][-2:]
    assert few["has_more"] is True
    async with phone.logs(environment_id, follow=False) as socket:
        assert (await socket.wait_closed())[0] == 1000
        assert "step 6 of 6" in str(socket.messages)


async def test_the_terminal_of_one_that_is_being_made_tells_how_far_it_is(phone: Phone):
    environment_id = (await phone.create(template="slow"))["id"]
    async with phone.terminal(environment_id) as terminal:
        await terminal.wait_for("welcome")
        update = await terminal.wait_for("status_update")
        assert update["environment_id"] == environment_id
        await terminal.see("$")  # the prompt, once it runs, on the same socket
        await terminal.run("echo v:$FROM_TEMPLATE:", "v:slow:")


async def test_stop_and_start_keep_the_home_and_the_whole_session(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run(
            "mkdir -p deep && cd deep && echo k$((1 + 1))pt > mine; pwd", "/home/devpocket/workspace/deep"
        )
        await terminal.run("tmux new-window -d -n second -c /tmp; echo s$((1 + 2))crollback", "s3crollback")
        await terminal.run("tmux split-window -d -h; tmux list-panes | wc -l | sed s/^/panes/", "panes2")
    await phone.command(environment_id, "stop")
    assert (await phone.until(environment_id, "stopped"))["status"] == "stopped"
    with pytest.raises(Refused) as caught:
        await phone.command(environment_id, "stop")
    assert caught.value.status == 400
    await phone.command(environment_id, "start")
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.see("s3crollback")
        await terminal.run("echo h:$(cat ~/workspace/deep/mine):$(pwd)", "h:k2pt:/home/devpocket/workspace/deep")
        await terminal.run("tmux list-windows -F 'w:#{window_name}:#{window_panes}'", "w:second:1")
        await terminal.run("echo p:$(tmux list-panes | wc -l)", "p:2")
        await terminal.run("echo d:$(tmux display-message -p -t :second '#{pane_current_path}')", "d:/tmp")


async def test_a_restart_under_an_open_terminal_leaves_it_usable(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("echo b$((1 + 1))fore; kept=no", "b2fore")
        await phone.command(environment_id, "restart")
        await terminal.until_cleared()
        await terminal.run("echo a${kept}$((1 + 2))fter", "a3fter")
        assert "b2fore" in terminal.raw.rpartition("\x1b[3J")[2]


async def test_a_failing_command_leaves_the_environment_to_its_user_who_recovers_it(phone: Phone):
    environment_id = (await phone.create(template="broken"))["id"]
    async with phone.logs(environment_id) as logs:
        told = await logs.wait_for("installation_error")
        assert told["environment_id"] == environment_id
    environment = await phone.until(environment_id, "running")
    assert environment["installation_completed"] is False
    text = "\n".join((await phone.fetch("GET", f"/environments/{environment_id}/logs", parsers.LOGS))["logs"])
    assert "first command done" in text
    assert "the wheel is missing" in text
    assert "third command done" not in text
    async with phone.terminal(environment_id) as terminal:
        assert (await terminal.wait_for("welcome"))["environment"]["installation_completed"] is False
        await terminal.run("touch ~/mended; echo m$((1 + 1))m", "m2m")
        await phone.command(environment_id, "recover")
        async with phone.logs(environment_id) as logs:
            await logs.wait_for("installation_complete")
        await terminal.run("echo s$((1 + 1))till", "s2till")
    environment = await phone.until(environment_id, "running")
    assert environment["installation_completed"] is True


async def test_what_is_changed_is_changed(phone: Phone):
    environment = await phone.create(template="slow", environment_variables={"A": "1", "B": "ä b"})
    environment_id = environment["id"]
    assert environment["environment_variables"] == {"FROM_TEMPLATE": "slow", "A": "1", "B": "ä b"}
    changes = {"name": "Neuer Name", "description": "d", "environment_variables": {"A": "2", "B": None}}
    changed = await phone.fetch("PUT", f"/environments/{environment_id}", parsers.ENVIRONMENT, changes)
    assert changed == (await phone.environment(environment_id)) | {"updated_at": changed["updated_at"]}
    assert (changed["name"], changed["description"]) == ("Neuer Name", "d")
    assert changed["environment_variables"] == {"FROM_TEMPLATE": "slow", "A": "2"}
    for variables in ({"FROM_TEMPLATE": "own"}, {"FROM_TEMPLATE": None}):
        body = {"environment_variables": variables}
        changed = await phone.fetch("PUT", f"/environments/{environment_id}", parsers.ENVIRONMENT, body)
        assert changed["environment_variables"] == {"FROM_TEMPLATE": variables["FROM_TEMPLATE"] or "slow"}
    nothing = dict.fromkeys(("name", "description", "resource_limits", "environment_variables"))
    same = await phone.fetch("PUT", f"/environments/{environment_id}/", parsers.ENVIRONMENT, nothing)
    assert same["name"] == "Neuer Name"


async def test_a_stop_in_the_middle_of_a_creation_is_obeyed(phone: Phone):
    environment_id = (await phone.create(template="slow"))["id"]
    await phone.command(environment_id, "stop")
    await phone.until(environment_id, "stopped")
    await phone.command(environment_id, "start")
    environment = await phone.until(environment_id, "running")
    assert environment["installation_completed"] is True


async def test_figures_are_of_the_environment_itself(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal:
        await terminal.run("head -c 200M /dev/zero > ~/zeros; echo f$((1 + 1))ull", "f2ull")
    metrics = await phone.fetch("GET", f"/environments/{environment_id}/metrics", parsers.METRICS)
    assert 0 < metrics["memory_usage"] < 50
    assert metrics["cpu_usage"] is None or metrics["cpu_usage"] >= 0
    assert metrics["timestamp"]


async def test_deleting_frees_the_place_and_the_name_at_once(phones: Phones):
    phone = await phones()
    for _ in range(3):
        environment_id = (await phone.create("The same name"))["id"]
        await phone.delete(environment_id)
        with pytest.raises(Refused) as caught:
            await phone.environment(environment_id)
        assert caught.value.status == 404
        assert await phone.environments() == []


async def test_a_deletion_closes_what_is_open(phone: Phone):
    environment_id = (await phone.create())["id"]
    await phone.until(environment_id, "running")
    async with phone.terminal(environment_id) as terminal, phone.logs(environment_id) as logs:
        await terminal.wait_for("output")
        await logs.wait_for("welcome")
        await phone.delete(environment_id)
        await terminal.wait_closed()
        await logs.wait_closed()


async def test_templates_and_clusters_are_what_the_app_parses(phone: Phone):
    templates = {template["name"]: template for template in await phone.templates()}
    assert {"python", "nodejs", "react", "flutter", "ubuntu"} <= templates.keys()
    for template in templates.values():
        detail = await phone.fetch("GET", f"/templates/{template['id']}", parsers.TEMPLATE_DETAIL)
        assert detail["image"] == template["docker_image"]
    clusters = await phone.fetch("GET", "/clusters/", parsers.list_of(parsers.CLUSTER))
    assert len(clusters) == 1
    await phone.fetch("GET", f"/clusters/{clusters[0]['id']}", parsers.CLUSTER)
    await phone.fetch("GET", f"/clusters/{clusters[0]['id']}/health", parsers.CLUSTER_HEALTH)


@pytest.mark.parametrize("fields", [{"template_id": "ubuntu"}, {"template_id": None, "template": "ubuntu"}])
async def test_a_template_may_be_named(phone: Phone, fields: dict[str, str | None]):
    body = {"name": "By name", "resource_limits": {"cpu": "250m", "memory": "512Mi"}, **fields}
    environment = await phone.fetch("POST", "/environments/", parsers.ENVIRONMENT, body)
    assert environment["template_id"] == await phone.template_id("ubuntu")
    assert environment["resource_limits"]["cpu"] == "250m"
    assert environment["resource_limits"]["storage"]
