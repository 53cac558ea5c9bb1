# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a deployment: plan, write in order, wait, and on failure explain and roll back.

PRIVATE to the collection. The runner looks at the swarm again in every step and does what is possible then, so it
can stop after any step and go on later from its ``State``.
"""

from __future__ import annotations

import time
import typing as t

from . import compile as compiling
from . import diagnose, images, preparing, recreating, report, waiting
from . import live as living
from . import plan as planning
from .cleanup import collect_garbage, remove_leftovers
from .engine import MAXIMUM_API, Engine, EngineError, EngineUnreachable
from .finishing import finishing, finishing_line
from .live import Live
from .progress import progress_lines
from .rollback import begin_rollback, rollback_is_over
from .state import Options, State
from .waiting import CONVERGED, FAILED, WAITING, Memory, Verdict

#: Seconds between two looks at the swarm.
POLL = 1.0
#: A slice that has news ends no sooner than this.
SHORTEST_SLICE = 1.5
#: Seconds for which an engine may be silent while a deployment is under way.
PATIENCE = 60.0
#: How often somebody else's write may come between before the run gives up.
TRIES = 5


class Step(t.NamedTuple):
    """What a slice has come to. ``lines`` are news for people; ``result`` is None while there is more to do."""

    lines: list[str]
    result: dict[str, t.Any] | None
    failed: str = ""


class Runner:
    """One deployment of one stack.

    Args:
        engine: of a manager.
        options: what is asked for; the definition has been checked.
        state: of an earlier slice, or None.
        clock, sleep: seconds of the monotonic clock, and a pause.
    """

    def __init__(
        self,
        engine: Engine,
        options: Options,
        state: State | None = None,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self.options = options
        self.resumed = state is not None
        self.state = state or State(clock())
        self.clock = clock
        self.sleep = sleep
        self.live = Live(options.name)
        self.mask = diagnose.Mask(
            entry["data"] for entry in options.definition.get("secrets", {}).values() if "data" in entry
        )
        self.stack = compiling.Stack(options.name, {}, {}, {}, {})
        self.verdicts: dict[str, Verdict] = {}

    def run(self, slice_seconds: float | None = None) -> Step:
        """Go on until the end, or until the slice is over.

        Raises:
            Impossible: before anything is written.
            NotASwarmManager, EngineUnreachable, EngineError: as reading and writing raise them.
        """
        began = self.clock()
        if self.resumed:
            self._patiently(lambda: setattr(self, "live", living.read(self.engine, self.options.name)))
            self.compile()
        else:
            preparing.read_first(self)
            finished = preparing.start(self)
            if finished is not None:
                return Step([], finished)
        lines: list[str] = []
        while True:
            step = self._step()
            lines += step.lines
            now = self.clock()
            over = slice_seconds is not None and (
                now - began >= slice_seconds or (bool(lines) and now - began >= SHORTEST_SLICE)
            )
            if step.result is not None or over:
                return step._replace(lines=lines)
            self.sleep(POLL)
            self._patiently(lambda: living.refresh(self.engine, self.live))

    def _patiently(self, look: t.Callable[[], None]) -> None:
        """Look again; managers that elect a leader, or an engine that restarts, get a while to come back."""
        began = self.clock()
        while True:
            try:
                return look()
            except (EngineUnreachable, EngineError) as error:
                lasting = isinstance(error, EngineError) and error.status < 500
                if lasting or self.clock() - began >= PATIENCE:
                    raise
            self.sleep(POLL)

    def compile(self) -> None:
        """The wanted stack, with the images that were chosen."""
        try:
            api = self.engine.api
        except EngineUnreachable:
            api = MAXIMUM_API  # only check mode comes here without an engine
        self.stack = compiling.compile_stack(
            self.options.name, self.options.definition, self.options.object_key, self.state.images, api
        )

    def _step(self) -> Step:
        if self.state.phase == "rollback":
            return self._roll_back()
        if self.state.phase == "remove":
            return self._tidy()
        if self.state.phase == "recreate":
            return self._recreate()
        return self._deploy()

    def _recreate(self) -> Step:
        if recreating.networks_are_gone(self):
            preparing.create_all(self)
            self.state.phase = "deploy"
            return self._deploy()
        if self.clock() - self.state.began >= self.options.timeout:
            text = f"a network is still in use after {self.options.timeout:g} s"
            self.state.failures += [diagnose.missing(name, Verdict(WAITING, text)) for name in self.state.removed]
            return self._fail({}, [])
        return Step([], None)

    def _deploy(self) -> Step:
        state = self.state
        own = self.live.own_services()
        pending: dict[str, planning.Action] = {}
        failed: dict[str, Verdict] = {}
        self.verdicts = {}
        for service in planning.in_order(self.stack.services.values()):
            found = own.get(service.full_name)
            action = planning.plan_service(service, found, self.live)
            touched = service.name in state.touched
            if action is not None and not touched:
                pending[service.name] = action
                continue
            verdict = self.judge(service.name, found, touched)
            if touched and action is not None and verdict.state != FAILED:
                verdict = verdict._replace(
                    state=FAILED,
                    cause="moved",
                    text="somebody else removed it" if found is None else f"somebody else wrote it ({action.reason})",
                )
            self.verdicts[service.name] = verdict
            if verdict.state == FAILED:
                failed[service.name] = verdict
        late = [] if failed else self._late(pending)
        lines = progress_lines(self.stack, self.verdicts, pending, state, self.clock() - state.began)
        if failed or late:
            return self._fail({**failed, **{name: self.verdicts[name] for name in late}}, lines)
        written = self._write_ready(pending)
        if state.failures:
            return self._fail({}, lines)
        if written or (pending and not self.options.wait):
            return Step(lines, None)
        if pending or (self.options.wait and self._unfinished()):
            return Step(lines, None)
        state.notes += [
            f"{name}: {verdict.text}; Swarm starts the new ones by itself, within its stop_grace_period"
            for name, verdict in self.verdicts.items()
            if verdict.draining
        ]
        state.phase = "remove"
        done = self._tidy()
        return done._replace(lines=lines + done.lines)

    def _write_ready(self, pending: t.Mapping[str, planning.Action]) -> bool:
        """Write every service whose conditions hold; a refusal goes to ``state.failures``."""
        written = False
        for name, action in pending.items():
            if self._blockers(name, pending):
                continue
            try:
                self._write(name, action)
            except EngineError as error:
                # Somebody else may have written it since we read it: then the next step reads and plans again.
                self.state.tries += 1
                if not (error.out_of_sequence or error.status == 409) or self.state.tries >= TRIES:
                    self.state.failures.append(diagnose.refused(name, error.message))
                    break
            except KeyError as error:
                text = f"{error} was removed while this run was under way"
                self.state.failures.append(diagnose.refused(name, text))
                break
            written = True
        return written

    def _late(self, pending: t.Mapping[str, planning.Action]) -> list[str]:
        """Services that the deadline finds unfinished; what only waits for others is not named."""
        if self.clock() - self.state.began < self.options.timeout:
            return []
        unfinished = self._unfinished()
        if not pending and all(self.verdicts[name].draining for name in unfinished):
            # Work that may take hours is being finished, as asked for. Swarm goes on by itself afterwards.
            self.state.left_draining = unfinished
            return []
        unfinished = [name for name in unfinished if not self.verdicts[name].draining] or unfinished
        for name in unfinished:
            verdict = self.verdicts[name]
            self.verdicts[name] = verdict._replace(
                cause="timeout", text=f"{verdict.text} after {self.options.timeout:g} s"
            )
        if not unfinished:
            for name in pending:
                needs = ", ".join(self._blockers(name, pending)) or "its turn"
                self.verdicts[name] = Verdict(WAITING, f"never written: it waited for {needs}", "timeout")
        return unfinished or list(pending)

    def _unfinished(self) -> list[str]:
        """Services to wait for. One that an earlier run has left draining is not."""
        return [
            name
            for name, verdict in self.verdicts.items()
            if verdict.state == WAITING
            and not (verdict.draining and (name not in self.state.touched or name in self.state.left_draining))
        ]

    def judge(self, name: str, found: dict[str, t.Any] | None, touched: bool) -> Verdict:
        """Look at one service now."""
        if found is None:
            return Verdict(WAITING, "not there yet")
        verdict, self.state.memory[name] = waiting.judge(
            found,
            self.live.tasks_of(found["ID"]),
            touched=touched,
            memory=self.state.memory.get(name, Memory()),
            limits=self.options.limits,
            now=self.clock(),
        )
        return verdict

    def _blockers(self, name: str, pending: t.Mapping[str, planning.Action]) -> list[str]:
        return blockers(self.stack.services[name].depends_on, self.verdicts, pending)

    def _write(self, name: str, action: planning.Action) -> None:
        service = self.stack.services[name]
        found = self.live.own_services().get(service.full_name)
        headers = images.auth_header(service.spec["Labels"][images.IMAGE_LABEL], self.options.registry_auth)
        if found is None:
            body = compiling.bind(service.spec, self.live.ids())
            self.engine.post("/services/create", body, headers=headers)
        else:
            body = compiling.bind(planning.carried_over(service, found), self.live.ids())
            version = {"version": str(found["Version"]["Index"])}
            self.engine.post(f"/services/{found['ID']}/update", body, version, headers)
            failed = waiting.failed_before(found, self.live.tasks_of(found["ID"]))
            self.state.memory[name] = Memory(old_failures=failed)
        before = self.state.removed.pop(name, None)
        self.state.touched[name] = before if found is None else found["Spec"]
        if name in self.state.recreated:
            action = action._replace(**self.state.recreated[name])
        self.record(action)

    def _fail(self, failed: t.Mapping[str, Verdict], lines: list[str]) -> Step:
        """Collect the evidence while it is there, then roll back."""
        state = self.state
        own = self.live.own_services()
        for name, verdict in failed.items():
            found = own.get(f"{self.stack.name}_{name}")
            old = state.memory.get(name, Memory()).old_failures
            if found is not None:
                state.failures.append(
                    diagnose.diagnose(
                        self.engine,
                        found,
                        verdict,
                        nodes=self.live.nodes,
                        name=name,
                        mask=self.mask,
                        old_failures=old,
                        auth=self.options.registry_auth,
                    )
                )
            else:
                state.failures.append(diagnose.missing(name, verdict))
        lines = [*lines, *(f"{self.stack.name}: {diagnose.headline(failure)}" for failure in state.failures)]
        changed = [*state.touched, *state.removed]
        if self.options.rollback and any(not self.stack.services[name].job for name in changed):
            lines.append(f"{self.stack.name}: rolling back")
            state.phase = "rollback"
            state.rollback_began = self.clock()
            begin_rollback(self)
            return Step(lines, None)
        return Step(lines, report.result(self), report.message(self, ""))

    def _roll_back(self) -> Step:
        over, lines, outcome = rollback_is_over(self)
        if not over:
            return Step(lines, None)
        return Step(lines, {**report.result(self), "rolled_back": not outcome}, report.message(self, outcome or "done"))

    def _tidy(self) -> Step:
        if not self.verdicts:
            own = self.live.own_services()
            for service in self.stack.services.values():
                self.verdicts[service.name] = self.judge(service.name, own.get(service.full_name), False)
        if self.options.prune and not remove_leftovers(self):
            return Step([], None)
        collect_garbage(self)
        names = {self.stack.services[name].full_name: name for name in self.state.touched}
        old = finishing(self.engine, self.live, names)
        return Step(finishing_line(self.stack.name, old), {**report.result(self), "finishing": old})

    def record(self, action: planning.Action) -> None:
        """Remember an action for the result and its diff."""
        self.state.actions.append(action.public())
        title = f"{action.kind} {action.name}"
        self.state.diff.append(
            {"before_header": title, "after_header": title, "before": action.before, "after": action.after}
        )


def blockers(
    needs: t.Mapping[str, str], verdicts: t.Mapping[str, Verdict], pending: t.Mapping[str, t.Any]
) -> list[str]:
    """Dependencies whose condition does not hold yet."""
    found = []
    for need, condition in needs.items():
        verdict = verdicts.get(need)
        if need in pending or verdict is None:
            found.append(need)
        elif condition == "service_started":
            if not verdict.started:
                found.append(need)
        elif condition == "service_healthy":
            if not (verdict.healthy or verdict.state == CONVERGED):
                found.append(need)
        elif verdict.state != CONVERGED:
            found.append(need)
    return found
