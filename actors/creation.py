"""Making an environment: a slot of the plan first, then the document; whatever fails gives the slot back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from actors.background import Background
from actors.environment_queries import refuse_excess
from actors.ports import Ports
from actors.slots import Slots
from actors.templates import Templates
from devpocket.domain.environments import Environment
from devpocket.domain.plans import Plan
from devpocket.domain.templates import Template, Wish, merge
from devpocket.domain.users import User
from devpocket.errors import ConflictError, PermissionDeniedError
from devpocket.ids import EnvironmentId, new_id
from devpocket.metrics import LimitKind
from devpocket.store.environments import EnvironmentRecords
from devpocket.store.errors import DuplicateKeyError


@dataclass(frozen=True, slots=True)
class Creation:
    """Makes environments within what a plan allows, also with many at once in several processes."""

    ports: Ports
    slots: Slots
    templates: Templates
    background: Background
    drive: Callable[[EnvironmentId], None]

    async def create(self, user: User, template_id: str, wish: Wish) -> Environment:
        """Return the new environment, which is driven from now on; see CreateEnvironment for the refusals."""
        if self.ports.settings.auth.require_verified_email and not user.is_verified:
            raise PermissionDeniedError(
                "Please verify your e-mail address first; the code is in your mailbox.", code="email_unverified"
            )
        template = await self.templates.get_usable(template_id)
        plan = self.ports.plans.of(user.subscription_plan)
        environment = self._made(user, template, wish, plan)
        await self._reserve(environment, plan)
        try:
            await EnvironmentRecords(self.ports.store).insert(environment)
        except DuplicateKeyError as error:
            await self.slots.give_back(environment)
            raise ConflictError("You have another environment of this name.", code="name_taken") from error
        # After any other failure the document may be there: the slot stays taken, and is reclaimed if it is not.
        self.drive(environment.id)
        self.background.start(self.templates.count_use(template.id), "count the use of a template")
        return environment

    def _made(self, user: User, template: Template, wish: Wish, plan: Plan) -> Environment:
        """Lay the wish over the template: what was named must fit the plan, what was not is cut to it."""
        environment = merge(
            template, wish, environment_id=EnvironmentId(new_id()), user_id=user.id, now=self.ports.clock.now()
        )
        defaults = plan.clamp(template.default_resources)
        limits = replace(
            environment.limits,
            cpu=wish.cpu or defaults.cpu,
            memory=wish.memory or defaults.memory,
            storage=wish.storage or defaults.storage,
        )
        refuse_excess(plan, limits, self.ports.metrics)
        return replace(environment, limits=limits)

    async def _reserve(self, environment: Environment, plan: Plan) -> None:
        if await self.slots.take(environment, plan.environments):
            return
        self.ports.metrics.limit_refused(LimitKind.ENVIRONMENTS)
        noun = "environment" if plan.environments == 1 else "environments"
        raise PermissionDeniedError(
            f"Your plan, {plan.name}, allows {plan.environments} {noun}. Delete one first.", code="plan_limit"
        )
