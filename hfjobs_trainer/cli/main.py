"""The entry point: which command, and what its end means for the shell."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from hfjobs_trainer import __version__
from hfjobs_trainer.cli.table import COMMANDS
from hfjobs_trainer.errors import BudgetExceeded, HFTError, JobFailed, SpecError

FAILED, WRONG, UNREACHABLE, OVER_BUDGET, INTERRUPTED = 1, 2, 3, 4, 130
"""Exit codes beside 0: the job failed; a spec or an argument is wrong; the backend refused or could not be reached; the
run would cost more than it may; interrupted."""

_CODES: tuple[tuple[type[HFTError], int], ...] = (
    (SpecError, WRONG),
    (BudgetExceeded, OVER_BUDGET),
    (JobFailed, FAILED),
    (HFTError, UNREACHABLE),
)


class Commands(click.Group):
    """The commands of the table, each loaded when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"hfjobs_trainer.cli.{entry.module}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown name is answered with the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"Did you mean `hft {close[0]}`?" if close else "`hft --help` lists the commands."
            raise click.UsageError(f"there is no command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, by section; no command is loaded for it."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, entry.words) for name, entry in COMMANDS.items() if entry.section == section]
                )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 well, 1 the job failed, 2 a wrong spec or argument, 3 refused or unreachable, 4 over budget,"
    " 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", message="%(version)s")
def hft() -> None:
    """Fine-tune language models on Hugging Face Jobs.

    \b
      hft init dpo > dpo.yaml            a commented spec file
      hft plan dpo.yaml                  what would run, and its price
      hft submit dpo.yaml --max-usd 5    run it
      hft watch username/687f...         its progress
    """  # noqa: D301 - click's mark for lines that stay as they are


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: Its words; default: those of this process.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = hft.main(args=words, prog_name="hft", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return WRONG
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo(str(error) or "interrupted", err=True)
        return INTERRUPTED
    except HFTError as error:
        from hfjobs_trainer.cli.output import tell_error

        tell_error(error, as_json="--json" in words)
        return next(code for kind, code in _CODES if isinstance(error, kind))
    except BrokenPipeError:  # such as `| head`
        sys.stdout = None
        return 0
    return code if isinstance(code, int) else 0


def main() -> None:
    """``hft``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
