-- The role that Tutti connects as, and its database. The role owns that database and may do nothing else: it is no superuser and
-- makes neither databases nor roles. Run by a superuser, with psql, once:
--
--   TUTTI_PASSWORD_FILE=password.txt psql --dbname=postgres --file=deploy/postgres/database.sql
--
-- Migrations need no more: pg_trgm, the one extension, is trusted, so the owner of a database may install it.

\set ON_ERROR_STOP on
-- From a file: an argument of a program is visible to everybody on the machine.
\set password `cat "$TUTTI_PASSWORD_FILE"`
CREATE ROLE tutti LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
CREATE DATABASE tutti OWNER tutti;
-- Everybody may connect to a new database otherwise.
REVOKE CONNECT, TEMPORARY ON DATABASE tutti FROM PUBLIC;
