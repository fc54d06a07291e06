"""What each helper of the fluent schedule comes to, as a cron expression."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time

import pytest

from django_jobs.exceptions import InvalidSchedule
from django_jobs.scheduler.frequency import Frequency
from django_jobs.scheduler.timing import Window

HELPERS = {
    # times
    "every_minute()": "* * * * *",
    "every_minute(7)": "*/7 * * * *",
    "every_x_minutes(12)": "*/12 * * * *",
    "every_two_minutes()": "*/2 * * * *",
    "every_three_minutes()": "*/3 * * * *",
    "every_four_minutes()": "*/4 * * * *",
    "every_five_minutes()": "*/5 * * * *",
    "every_ten_minutes()": "*/10 * * * *",
    "every_fifteen_minutes()": "*/15 * * * *",
    "every_twenty_minutes()": "*/20 * * * *",
    "every_thirty_minutes()": "*/30 * * * *",
    "minutes(5, 35)": "5,35 * * * *",
    "minutes([35, 5, 5])": "5,35 * * * *",
    "between_minutes(10, 20)": "10-20 * * * *",
    "between_minutes(10, 10)": "10 * * * *",
    "hourly()": "0 * * * *",
    "hourly_at(17)": "17 * * * *",
    "hourly_at([15, 45])": "15,45 * * * *",
    "every_hour()": "0 * * * *",
    "every_hour(5, 20)": "20 */5 * * *",
    "every_hour(5, [20, 40])": "20,40 */5 * * *",
    "every_2_hours()": "0 */2 * * *",
    "every_3_hours(15)": "15 */3 * * *",
    "every_4_hours()": "0 */4 * * *",
    "every_6_hours()": "0 */6 * * *",
    "every_two_hours()": "0 */2 * * *",
    "every_three_hours(15)": "15 */3 * * *",
    "every_four_hours()": "0 */4 * * *",
    "every_six_hours([0, 30])": "0,30 */6 * * *",
    "hours(9, 17)": "0 9,17 * * *",
    "hours([9, 17]).minutes(30)": "30 9,17 * * *",
    "between_hours(9, 17)": "0 9-17 * * *",
    "between_hours(9, 17).every_minute()": "* * * * *",
    "every_minute().between_hours(9, 17)": "* 9-17 * * *",
    "at('9:30')": "30 9 * * *",
    "at(9)": "0 9 * * *",
    "at('9:30', '17:30')": "30 9,17 * * *",
    "at(['9:00', '17:30'])": "0 9 * * * | 30 17 * * *",
    "at(time(0, 5))": "5 0 * * *",
    # days
    "daily()": "0 0 * * *",
    "daily_at('02:00')": "0 2 * * *",
    "daily_at('2:00', '14:00')": "0 2,14 * * *",
    "twice_daily()": "0 1,13 * * *",
    "twice_daily(8, 20)": "0 8,20 * * *",
    "twice_daily_at(8, 20, 15)": "15 8,20 * * *",
    "weekly()": "0 0 * * 0",
    "weekly_on(1)": "0 0 * * 1",
    "weekly_on(1, '8:00')": "0 8 * * 1",
    "weekly_on(['Monday', 'thu'], '8:00')": "0 8 * * 1,4",
    "sundays()": "0 0 * * 0",
    "mondays('8:15')": "15 8 * * 1",
    "tuesdays()": "0 0 * * 2",
    "wednesdays()": "0 0 * * 3",
    "thursdays()": "0 0 * * 4",
    "fridays('18:00')": "0 18 * * 5",
    "saturdays()": "0 0 * * 6",
    "weekdays()": "0 0 * * 1-5",
    "weekdays('9:00')": "0 9 * * 1-5",
    "weekends()": "0 0 * * 0,6",
    "days([1, 3, 7])": "0 0 * * 0,1,3",
    "days('mon', 'fri')": "0 0 * * 1,5",
    "monthly()": "0 0 1 * *",
    "monthly_on(4, '15:00')": "0 15 4 * *",
    "twice_monthly()": "0 0 1,16 * *",
    "twice_monthly(5, 20, '13:00')": "0 13 5,20 * *",
    "last_day_of_month()": "0 0 L * *",
    "last_day_of_month('23:50')": "50 23 L * *",
    "days_of_month([1, 10, 20])": "0 0 1,10,20 * *",
    "quarterly()": "0 0 1 1,4,7,10 *",
    "quarterly_on(4, '14:00')": "0 14 4 1,4,7,10 *",
    "yearly()": "0 0 1 1 *",
    "yearly_on(6, 1, '17:00')": "0 17 1 6 *",
    "yearly_on('December', 24)": "0 0 24 12 *",
    "months([1, 7])": "0 0 * 1,7 *",
    "months('jan', 'July').monthly()": "0 0 1 1,7 *",
    # together
    "weekdays().at('9:00')": "0 9 * * 1-5",
    "at('9:00').weekdays()": "0 9 * * 1-5",
    "hourly().weekdays()": "0 * * * 1-5",
    "weekdays().hourly()": "0 * * * 1-5",
    "weekly().mondays().at('13:00')": "0 13 * * 1",
    "daily().at('9:00').at('10:00')": "0 10 * * *",
    "at('9:00').every_ten_minutes()": "*/10 * * * *",
    "monthly().mondays().day_or(False)": "0 0 1 * 1",
    "cron('5 4 * * sun')": "5 4 * * sun",
    "cron('0 9 * * *', '0  17 * * 1-5')": "0 9 * * * | 0 17 * * 1-5",
    "cron('@daily')": "@daily",
    "cron('0 0 * * * */10', seconds=True)": "0 0 * * * */10",
}


def built(helpers: str) -> Frequency:
    return eval(f"frequency.{helpers}", {"frequency": Frequency(), "time": time, "datetime": datetime, "UTC": UTC})


@pytest.mark.parametrize(("helpers", "cron"), HELPERS.items())
def test_helpers(helpers: str, cron: str) -> None:
    frequency = built(helpers)
    assert frequency.errors == []
    assert frequency.to_timing().expression == cron


def test_every_helper_is_tested() -> None:
    public = {name for name in vars(Frequency) if name[0] != "_"} - {"to_timing"}
    tested = {name for name in public if any(re.search(rf"\b{name}\(", helpers) for helpers in HELPERS)}
    assert public - tested == {"between", "unless_between", "timezone"}


def test_windows() -> None:
    timing = built("hourly().between('9:00', '17:30').unless_between(12, '12:59')").to_timing()
    assert timing.expression == "0 * * * *"
    assert timing.windows == (Window(time(9), time(17, 30)), Window(time(12), time(12, 59), inside=False))


def test_day_or() -> None:
    assert built("cron('0 0 1 * 1', day_or=False)").to_timing().crons[0].day_or is False
    assert built("monthly().mondays().day_or(False)").to_timing().crons[0].day_or is False
    assert built("monthly().mondays()").to_timing().crons[0].day_or is True


def test_zone(settings) -> None:
    assert built("daily()").to_timing().zone_name == settings.TIME_ZONE
    settings.JOBS_SCHEDULE_TIMEZONE = "Asia/Tokyo"
    assert built("daily()").to_timing().zone_name == "Asia/Tokyo"
    assert built("daily().timezone('Europe/Berlin')").to_timing().zone_name == "Europe/Berlin"


@pytest.mark.parametrize(
    ("helpers", "at"),
    [
        ("at(datetime(2026, 6, 1, 9, tzinfo=UTC))", "2026-06-01T09:00:00+00:00"),
        ("at('2026-06-01T09:00:00+02:00')", "2026-06-01T07:00:00+00:00"),
        ("at(datetime(2026, 6, 1, 9)).timezone('Europe/Berlin')", "2026-06-01T07:00:00+00:00"),
        ("at(datetime(2026, 3, 29, 2, 30)).timezone('Europe/Berlin')", "2026-03-29T01:00:00+00:00"),
        ("at(datetime(2026, 10, 25, 2, 30)).timezone('Europe/Berlin')", "2026-10-25T00:30:00+00:00"),
        ("at(datetime(2011, 12, 30, 12)).timezone('Pacific/Apia')", "2011-12-30T10:00:00+00:00"),
    ],
)
def test_one_moment(helpers: str, at: str) -> None:
    timing = built(helpers).to_timing()
    assert timing.at is not None
    assert timing.at.isoformat() == at


@pytest.mark.parametrize(
    ("helpers", "says"),
    [
        ("every_minute(0)", "every_minute: '0' is not a whole number from 1 to 59"),
        ("every_hour(24)", "every_hour: '24' is not"),
        ("hourly_at(60)", "hourly_at: '60' is not"),
        ("hourly_at(True)", "hourly_at: 'True' is not"),
        ("hours()", "hours: give at least one value"),
        ("daily_at()", "daily_at: give at least one value"),
        ("at()", "at: give at least one value"),
        ("hours('nine')", "hours: 'nine' is not"),
        ("daily_at('24:00')", "daily_at: '24:00' is not a time of the day"),
        ("daily_at('9.30')", "daily_at: '9.30' is not a time of the day"),
        ("daily_at('\u0669:\u0660\u0660')", "is not a time of the day"),
        ("daily_at(True)", "daily_at: 'True' is not a time of the day"),
        ("daily_at(time(9, tzinfo=UTC))", "daily_at: '09:00:00+00:00' is not a time of the day"),
        ("at('2026-02-30T09:00')", "at: '2026-02-30T09:00' is not a time of the day"),
        ("at('9:00', datetime(2026, 1, 1))", "at: give one moment, or times of the day"),
        ("days('someday')", "days: 'someday' is not one of sunday, monday"),
        ("days(8)", "days: '8' is not a whole number from 0 to 6"),
        ("months(13)", "months: '13' is not a whole number from 1 to 12"),
        ("months('ju')", "months: 'ju' is not a whole number"),
        ("monthly_on(32)", "monthly_on: '32' is not"),
        ("timezone('Mars/Olympus')", "timezone: 'Mars/Olympus' is not a time zone"),
        ("timezone(3)", "timezone: give a name"),
        ("between('9', '25:00')", "between: '25:00' is not a time of the day"),
        ("cron()", "cron: give at least one value"),
        ("cron(5)", "cron: give expressions as texts"),
        ("cron('* * * * *', seconds=1)", "seconds: give True or False"),
    ],
)
def test_bad_arguments_are_kept_and_not_raised(helpers: str, says: str) -> None:
    (error,) = built(helpers).errors
    assert says in str(error)


@pytest.mark.parametrize(
    ("helpers", "says"),
    [
        ("timezone('UTC')", "it is never due"),
        ("daily().cron('* * * * *')", "don't go together"),
        ("daily().at(datetime(2026, 1, 1))", "don't go together"),
        ("cron('61 * * * *')", "'61' is no minute"),
        ("at(datetime(2026, 1, 1)).between(9, 17)", "between: a single moment has no hours of the day"),
        ("hourly().unless_between('0:00', '23:59')", "no time of the day is left"),
        ("daily_at('2:00').between('9:00', '17:00')", "no time of the day is left"),
        ("months(2).days_of_month(30)", "never matches"),
    ],
)
def test_what_does_not_hold_together(helpers: str, says: str) -> None:
    frequency = built(helpers)
    assert frequency.errors == []
    with pytest.raises(InvalidSchedule, match=says):
        frequency.to_timing()
