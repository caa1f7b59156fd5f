"""`pytools ping` of many targets: a sweep, or who is alive."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from pytools.cli.ping_run import BROADCAST_REFUSED, Run
from pytools.cli.targets import HostList
from pytools.errors import LinkError, UsageError
from pytools.probe.ping_events import Summary
from pytools.probe.sweep import SweepConfig, SweepEngine
from pytools.probe.targets import TargetTable
from pytools.render.escape import escape
from pytools.render.ping_text import ShownTarget

_ENDPOINTS = 64
"""So many targets are asked about one by one; more find their way by the stack's own table."""


class ManyRun(Run):
    """Several targets, one engine."""

    is_single = False

    def prepare(self) -> None:
        """See `Run`."""
        plan, given, path = self.plan, self.plan.given, self.path
        hosts = plan.hosts
        options: list[Any] = []
        if len(hosts) <= _ENDPOINTS:
            options = [self._options_of(hosts, index) for index in range(len(hosts))]
        shared = plan.ip_options()
        self.shown = ShownHosts(hosts, plan.size)
        table = TargetTable(hosts.addresses, hosts.names)
        config = SweepConfig(
            ident=path.ident,
            size=plan.size,
            pattern=self.pattern(),
            count=plan.count,
            interval_ns=plan.interval_ns,
            gap_ns=plan.gap_ns,
            flood=given.flood,
            retries=(3 if given.retry is None else given.retry) if plan.reachability else -1,
            backoff=given.backoff or 1.5,
            options=options or [shared] * len(hosts),
            behind_gateway=True,
            shuffle=given.random_order,
            user_to_user=given.user_latency,
            histograms=(given.stats or given.json or given.live) and not (given.quiet and len(hosts) > 1000),
            keep_rtts=given.vcount is not None,
            tell_sent=given.json and not given.quiet and not given.flood,
            **self.shared_settings(),
        )
        self.engine = SweepEngine(path.stack, table, config, Random(path.seed))

    def _options_of(self, hosts: HostList, index: int) -> Any:
        """Each target's own source and port; one without a route is refused when its turn comes."""
        try:
            endpoint = self.path.endpoint(hosts.addresses[index], hosts.zones.get(index, ""))
        except LinkError:
            return self.plan.ip_options()
        if self.is_broadcast(endpoint) and not self.plan.given.broadcast:
            raise UsageError(BROADCAST_REFUSED)
        self.endpoints.append(endpoint)
        return self.plan.ip_options(endpoint)

    def summaries(self) -> Iterator[Summary]:
        """See `Run`."""
        interval_ns, name_of, timed = self.plan.interval_ns, self.plan.hosts.name, self.plan.size >= 16
        for index, summary in enumerate(self.engine.table.summaries()):
            summary.name = summary.name or name_of(index)
            summary.timed = timed
            summary.outage_ns = (summary.sent - summary.received) * interval_ns
            yield summary

    def label_width(self) -> int:
        """See `Run`."""
        name_of = self.plan.hosts.name
        return max(6, max([len(escape(name_of(index))) for index in range(len(self.plan.hosts))], default=0))

    def answered_count(self) -> int:
        """See `Run`."""
        return int(self.engine.table.answered_count())

    def all_rtts(self) -> Sequence[Sequence[int]]:
        """See `Run`."""
        return self.engine.table.rtts_us or ()


class ShownHosts(Sequence[ShownTarget]):
    """What lines say of many targets, made when it is asked for."""

    def __init__(self, hosts: HostList, size: int) -> None:
        self._hosts = hosts
        self._size = size

    def __len__(self) -> int:
        return len(self._hosts)

    def __getitem__(self, index: Any) -> Any:
        hosts = self._hosts
        if not 0 <= index < len(hosts):
            raise IndexError(index)
        return ShownTarget(hosts.name(index), hosts.addresses[index], self._size, zone=hosts.zones.get(index, ""))
