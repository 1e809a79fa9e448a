import pytest

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.plans import Plan, Plans

FREE = Plan(
    name="free",
    environments=1,
    sockets=10,
    idle_timeout_s=1800,
    wake_on_connect=True,
    default_resources=ResourceLimits("500m", "1Gi", "5Gi"),
    max_resources=ResourceLimits("1", "2Gi", "20Gi"),
)


@pytest.mark.parametrize(
    ("asked", "exceeded"),
    [
        (ResourceLimits("1000m", "2048Mi", "20Gi"), ()),
        (ResourceLimits("1001m", "2Gi", "20Gi"), ("cpu",)),
        (ResourceLimits("2", "3Gi", "21Gi"), ("cpu", "memory", "storage")),
    ],
)
def test_amounts_are_compared_and_not_their_texts(asked, exceeded):
    assert FREE.exceeded(asked) == exceeded


def test_clamping_cuts_only_what_is_too_much():
    assert FREE.clamp(ResourceLimits("4", "512Mi", "100Gi", max_instances=2)) == ResourceLimits(
        "1", "512Mi", "20Gi", max_instances=2
    )


def test_a_plan_that_is_gone_counts_as_the_default_one():
    plans = Plans({"free": FREE}, FREE)
    assert plans.of("free") is FREE
    assert plans.of("discontinued") is FREE
