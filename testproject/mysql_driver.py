"""The driver behind Django's MySQL backend: mysqlclient, or PyMySQL where that is missing."""


def install_mysql_driver() -> str:
    """Make `import MySQLdb` work and return the driver's name; ImportError without any driver."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        # Django reads mysqlclient's version here and refuses an older one than it supports.
        pymysql.version_info = (2, 2, 8, "final", 0)
        pymysql.install_as_MySQLdb()
        return "PyMySQL"
    return "mysqlclient"
